"""The base of the services: what a service of a few lines gets by it, also for a task of a user's own."""

from __future__ import annotations

import inspect
import json
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from examples.server import bento, serve
from quantbento import store
from quantbento.runtimes import artifact
from quantbento.runtimes.onnx import MODEL, OnnxRuntime
from quantbento.serving.errors import CannotServe
from quantbento.serving.model import ServedModel
from quantbento.serving.service import BatchService, ModelService
from quantbento.serving.settings import ServiceSettings
from tests.conftest import ROOT, model_store
from tests.serving.ranking import WIDTH, Ranking

RANKER = "my-ranker-onnx-int8"


def test_a_service_packs_and_checks_the_model_it_names(served_home):
    with model_store(served_home):
        encoder = ServedModel(ServiceSettings(), "feature-extraction", "tiny-encoder-onnx-int8")

        class Encoder(BatchService):
            served = encoder

        class Other(BatchService):
            served = ServedModel(ServiceSettings(), "tensor", "tiny-encoder-onnx-int8")

        assert str(Encoder.bento_model.tag) == store.find("tiny-encoder-onnx-int8").tag
        assert Encoder.preflight.__bentoml_deployment_hook__
        Encoder.preflight()
        with pytest.raises(CannotServe, match="this service serves tensor"):
            Other.preflight()
        assert not encoder.ready
        assert Encoder().__is_ready__()


def test_a_service_can_be_defined_without_its_model_or_with_wrong_settings(bento_home, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "none")

    class Later(ModelService):
        served = ServedModel(ServiceSettings.read(), "tensor", "later")

    for refused in (Later.bento_model.resolve, Later.bento_model.to_info, Later.preflight):
        with pytest.raises(CannotServe, match="'max_items'"):
            refused()


def save_ranker(folder: Path) -> store.StoredModel:
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", WIDTH]) for n in Ranking.input_names]
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])
    product = helper.make_node("Einsum", Ranking.input_names, ["score"], equation="bi,bi->b")
    graph = helper.make_graph([product], "ranker", ends, [score])
    folder.mkdir()
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / MODEL)
    artifact.write(folder, Ranking(), OnnxRuntime, {}, {})
    return store.save(RANKER, folder, {}, {}, {})


@pytest.fixture(scope="module")
def ranker(tmp_path_factory):
    """The service in the docstring of `BatchService`, word for word, with the task it names."""
    folder = tmp_path_factory.mktemp("mine")
    said = inspect.getdoc(BatchService)
    example = said[said.index("    import bentoml") : said.index("and `bentoml serve my_service:Ranker`")]
    (folder / "my_service.py").write_text(textwrap.dedent(example))
    (folder / "my_tasks.py").write_text("from tests.serving.ranking import Ranking\n")
    with pytest.MonkeyPatch.context() as patch, model_store(tmp_path_factory.mktemp("bentoml")) as home:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(Ranking, "__module__", "my_tasks")
        saved = save_ranker(folder / "artifact")
        environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MAX_ITEMS": "4"}
        with serve(bento("my_service:Ranker"), environment, folder / "server.log") as server:
            yield server, saved


@pytest.mark.slow
@pytest.mark.server
def test_a_task_of_ones_own_is_served_by_the_service_of_the_docstring(ranker):
    server, saved = ranker
    pairs = np.random.default_rng(0).normal(size=(32, 2, WIDTH)).astype(np.float32)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda pair: ask(server, [pair.tolist()]).json(), pairs))
    scores = [answer[0]["score"] for answer in answers]
    np.testing.assert_allclose(scores, (pairs[:, 0] * pairs[:, 1]).sum(1), rtol=1e-5)
    info = httpx.get(f"{server.url}/info").json()
    assert (info["model"], info["task"]) == (saved.tag, "my_tasks:Ranking")


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(
    ("pairs", "said"),
    [([[[1, 2, 3]]], "item 0: must be a query and a document"), ([[]] * 5, "at most 4 items"), ([], "at least 1 item")],
    ids=["the task's check", "too many", "none"],
)
def test_its_wrong_input_is_400_with_the_field(ranker, pairs, said):
    response = ask(ranker[0], pairs)
    assert response.status_code == 400
    assert response.json()["errors"][0]["loc"] == ["pairs"]
    assert said in response.text


@pytest.mark.slow
@pytest.mark.server
def test_its_openapi_document_is_made_of_the_task_with_an_example_that_works(ranker):
    server, _ = ranker
    docs = httpx.get(f"{server.url}/docs.json").json()
    rank = docs["paths"]["/rank"]["post"]
    pairs = rank["requestBody"]["content"]["application/json"]["schema"]["properties"]["pairs"]
    assert (pairs["items"], pairs["maxItems"]) == (Ranking().item_schema(), 4)
    assert rank["responses"]["200"]["content"]["application/json"]["schema"]["items"] == Ranking().answer_schema()
    assert ask(server, pairs["example"]).json() == [{"score": WIDTH}]


@pytest.mark.slow
@pytest.mark.server
def test_its_bodies_are_limited_and_its_log_holds_no_traceback(ranker):
    server, _ = ranker
    response = httpx.post(f"{server.url}/rank", content=b"[" * 8_000_001)
    assert response.status_code == 413
    assert "Traceback" not in Path("server.log").read_text()


def ask(server, pairs: list) -> httpx.Response:
    return httpx.post(f"{server.url}/rank", content=json.dumps({"pairs": pairs}))
