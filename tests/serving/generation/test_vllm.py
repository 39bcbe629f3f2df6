"""The engine behind the endpoints: refused before it starts, followed while it runs, ended with the service."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from quantbento import store
from quantbento.runtimes import artifact
from quantbento.serving.errors import CannotServe
from quantbento.serving.generation import server as generation_server
from quantbento.serving.generation import vllm as vllm_server
from quantbento.serving.generation.settings import VLLMSettings
from quantbento.serving.generation.vllm import VLLMServer
from tests.conftest import model_store

DESCRIPTIONS = {
    "tiny": {"task": "text-generation", "runtime": "vllm", "runtime_config": {"engine": {"kv_cache_gib": 0.5}}},
    "damaged": {"task": "text-generation", "runtime": "vllm", "runtime_config": {}},
    "other-runtime": {"task": "text-generation", "runtime": "transformers", "runtime_config": {}},
    "other-task": {"task": "tensor", "runtime": "onnx", "runtime_config": {}},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store of artifacts that hold nothing but their descriptions."""
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        for name, description in DESCRIPTIONS.items():
            folder = tmp_path_factory.mktemp(name)
            (folder / artifact.DESCRIPTION).write_text(json.dumps(description))
            store.save(name, folder, {}, {}, {})
        yield home


REFUSED = {
    "missing": ("tny", {}, "did you mean 'tiny'"),
    "other task": ("other-task", {}, "is a model for tensor on onnx; this service serves text-generation on vllm"),
    "other runtime": ("other-runtime", {}, "is a model for text-generation on transformers"),
    "another service's setting": ("tiny", {"max_items": "3"}, "'max_items' is not one of this service's"),
    "settings that clash": ("tiny", {"gpu_memory_utilization": "0.5"}, "kv_cache_gib or gpu_memory_utilization"),
}


@pytest.mark.parametrize(("model", "settings", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_served_is_refused_before_a_worker_starts(home, monkeypatch, model, settings, said):
    monkeypatch.setattr(generation_server.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(CannotServe, match=said):
        VLLMServer(VLLMSettings(model=model, **settings), "unused").preflight()


def test_a_damaged_model_is_refused(home):
    description = store.find("damaged").path / artifact.DESCRIPTION
    description.chmod(0o644)
    description.write_text(description.read_text() + " ")
    with pytest.raises(CannotServe, match="damaged"):
        VLLMServer(VLLMSettings(model="damaged"), "unused").preflight()


def test_a_missing_vllm_is_named(home, monkeypatch):
    server = VLLMServer(VLLMSettings(), "tiny")
    monkeypatch.setattr(generation_server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CannotServe, match=r"pip install 'quantbento\[vllm\]'"):
        server.preflight()
    monkeypatch.setattr(generation_server.importlib.util, "find_spec", lambda name: name)
    server.preflight()


class Engine:
    """Stands in for vLLM's: starts when it is let, answers with its number."""

    started: list[Engine]
    may_start: threading.Event

    @classmethod
    def start(cls, folder, names, settings, max_tokens) -> Engine:
        assert cls.may_start.wait(10)
        engine = cls()
        engine.alive, engine.stopped, engine.names, engine.settings = True, False, names, settings
        cls.started.append(engine)
        engine.app = PlainTextResponse(str(len(cls.started)))
        return engine

    max_model_len = 64

    async def open(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def engines(home, monkeypatch) -> type[Engine]:
    Engine.started, Engine.may_start = [], threading.Event()
    monkeypatch.setattr(vllm_server, "VLLMEngine", Engine)
    monkeypatch.setattr(vllm_server.artifact, "load_task", lambda folder: None)
    return Engine


async def no_memory(engine) -> None:
    raise RuntimeError("no memory")


def until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def ask(client: TestClient) -> tuple[int, str]:
    response = client.post("/v1/completions", json={"prompt": "a"})
    return response.status_code, response.text


def test_readiness_follows_the_engine_from_its_start_to_the_next(engines):
    server = VLLMServer(VLLMSettings(), "tiny")
    with TestClient(server.app) as client:
        assert not server.ready
        status, text = ask(client)
        assert (status, json.loads(text)["error"]["type"]) == (503, "server_error")
        assert client.get("/v1/models").status_code == 503
        engines.may_start.set()
        until(lambda: server.ready)
        assert ask(client) == (200, "1")
        engines.may_start.clear()
        engines.started[0].alive = False
        assert not server.ready
        assert ask(client)[0] == 503
        engines.may_start.set()
        until(lambda: server.ready)
        assert ask(client) == (200, "2")
        assert engines.started[0].stopped
    assert engines.started[1].stopped


def test_the_model_has_its_full_tag_and_its_name(engines):
    engines.may_start.set()
    server = VLLMServer(VLLMSettings(), "tiny")
    with TestClient(server.app) as client:
        until(lambda: server.ready)
        listed = client.get("/v1/models").json()
    tag = store.find("tiny").tag
    assert [card["id"] for card in listed["data"]] == engines.started[0].names == [tag, "tiny"]
    assert listed["data"][0]["max_model_len"] == 64


def test_a_newer_version_in_the_store_changes_no_names_of_the_running_one(engines, tmp_path):
    engines.may_start.set()
    server = VLLMServer(VLLMSettings(), "renewed")
    description = DESCRIPTIONS["tiny"]
    (tmp_path / artifact.DESCRIPTION).write_text(json.dumps(description))
    first = store.save("renewed", tmp_path, {}, {}, {})
    with TestClient(server.app) as client:
        until(lambda: server.ready)
        (tmp_path / artifact.DESCRIPTION).write_text(json.dumps(description | {"schema_version": 1}))
        assert store.save("renewed", tmp_path, {}, {}, {}).tag != first.tag
        assert client.get("/v1/models").json()["data"][0]["id"] == first.tag


def test_the_engine_runs_as_it_was_judged(engines):
    engines.may_start.set()
    server = VLLMServer(VLLMSettings(max_model_len="32"), "tiny")
    with TestClient(server.app):
        until(lambda: server.ready)
    settings = engines.started[0].settings
    assert (settings.kv_cache_gib, settings.max_model_len) == (0.5, 32)


def test_only_generation_is_exposed(engines):
    engines.may_start.set()
    with TestClient(VLLMServer(VLLMSettings(), "tiny").app) as client:
        for path in ("/tokenize", "/v1/embeddings", "/invocations", "/docs"):
            assert client.post(path, json={}).status_code == 404


def test_an_engine_that_cannot_start_ends_the_process(engines, monkeypatch):
    ended = []
    monkeypatch.setattr(generation_server.os, "kill", lambda *arguments: ended.append(arguments))
    engines.may_start.set()
    server = VLLMServer(VLLMSettings(), "tiny")
    monkeypatch.setattr(engines, "open", no_memory)
    with TestClient(server.app):
        until(lambda: ended)
        assert not server.ready
    assert ended == [(os.getpid(), generation_server.signal.SIGTERM)]
