"""Models that version 0.1 saved are verified, loaded, and answer as they did.

`saved_by_0.1` was written by that version; the paths it left in pickles, ONNX files and manifests were removed. The
models are the tests' own, with random weights or trained by the project for a few seconds.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest

from examples.server import bento, serve
from quantbento import store
from tests.conftest import model_store

SAVED = Path(__file__).parent / "saved_by_0.1"
ANSWERS = json.loads((SAVED / "answers.json").read_text())
VLLM = "tiny-llama-rtn"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A copy: nothing writes into the repository."""
    home = tmp_path_factory.mktemp("saved") / "bentoml"
    shutil.copytree(SAVED / "models", home / "models")
    with model_store(home) as found:
        yield found


def test_all_of_them_are_tried(home):
    assert {model.tag.partition(":")[0] for model in store.models()} == ANSWERS.keys()


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.vllm) if n == VLLM else n for n in ANSWERS])
def test_a_model_is_verified_loaded_and_answers_as_it_did(home, name):
    model = store.find(name)
    assert model.verify()["environment"]["packages"]["quantbento"] == "0.1.0"
    loaded = model.load(threads=1)
    given, expected = ANSWERS[name]["inputs"], ANSWERS[name]["answers"]
    answers = loaded(given)
    loaded.close()
    if isinstance(expected[0], dict):
        for answer, before in zip(answers, expected, strict=True):
            assert answer.keys() == before.keys()
            assert {k: v for k, v in answer.items() if k != "score"} == {
                k: v for k, v in before.items() if k != "score"
            }
            assert answer.get("score") == pytest.approx(before.get("score"), abs=1e-3)
    else:
        np.testing.assert_allclose(np.asarray(answers), np.asarray(expected), atol=1e-3)


def test_what_the_manifest_tells_is_listed(home):
    from quantbento.cli.output.models import described

    for model in store.models():
        row = described(model)
        assert row["error"] is None
        assert row["quantizer"] and row["runtime"] and row["speedup"]["median"] > 0


SERVED = {
    "tiny-encoder-onnx-int8": ("Embedding", "/encode", "texts"),
    "tiny-classifier-torch-int8": ("TextClassification", "/classify", "texts"),
    "two-moons-torch-int8": ("TensorModel", "/predict", "inputs"),
    "tiny-llama-nf4": ("TextGenerationTransformers", "/generate", "prompt"),
}


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("name", SERVED)
def test_a_model_is_served_and_answers_as_it_did(home, name, tmp_path):
    service, path, field = SERVED[name]
    given, expected = ANSWERS[name]["inputs"], ANSWERS[name]["answers"]
    body = {field: given} if field != "prompt" else {"prompt": given[0], "temperature": 0, "max_tokens": 64}
    environment = {"BENTOML_HOME": str(home), "QUANTBENTO_MODEL": name}
    with serve(bento(f"service:{service}"), environment, tmp_path / "server.log", 120) as server:
        response = httpx.post(f"{server.url}{path}", json=body, timeout=60)
        info = httpx.get(f"{server.url}/info").json()
    assert response.status_code == 200, response.text
    assert info["model"] == store.find(name).tag
    answers = response.json()
    if field == "prompt":
        assert answers["text"] == expected[0]["text"]
    elif isinstance(expected[0], dict):
        assert [a["label"] for a in answers] == [e["label"] for e in expected]
    else:
        np.testing.assert_allclose(answers, expected, atol=1e-3)
