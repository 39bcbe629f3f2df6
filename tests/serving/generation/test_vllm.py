"""vLLM behind the endpoints: followed while it runs, started again, ended with the service."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.serving.generation import model as generation_model
from quantbento.serving.generation import vllm as vllm_engine
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.generation.vllm import VLLMEngine
from tests.conftest import model_store

DESCRIPTION = {"task": "text-generation", "runtime": "vllm", "runtime_config": {"engine": {"kv_cache_gib": 0.5}}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store with an artifact that holds nothing but its description."""
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        folder = tmp_path_factory.mktemp("tiny")
        (folder / artifact.DESCRIPTION).write_text(json.dumps(DESCRIPTION))
        store.save("tiny", folder, {}, {}, {})
        yield home


class Process:
    """Stands in for vLLM's: starts when it is let, answers with its number."""

    started: list[Process]
    may_start: threading.Event

    @classmethod
    def start(cls, folder, names, settings, max_tokens, tool_parser, adapters) -> Process:
        assert cls.may_start.wait(10)
        process = cls()
        process.alive, process.stopped, process.names, process.settings = True, False, names, settings
        cls.started.append(process)
        process.app = PlainTextResponse(str(len(cls.started)))
        return process

    max_model_len = 64

    async def open(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def engines(home, monkeypatch) -> type[Process]:
    Process.started, Process.may_start = [], threading.Event()
    monkeypatch.setattr(vllm_engine, "VLLMProcess", Process)
    monkeypatch.setattr(vllm_engine.artifact, "load_task", lambda folder: None)
    return Process


async def no_memory(process) -> None:
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
    server = ServedLanguageModel(GenerationSettings(), "tiny")
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


def test_an_engine_of_several_machines_is_not_started_again_alone(engines):
    """The others have to start again too: the service ends, and who started the machines sees it."""
    engines.may_start.set()
    engine = VLLMEngine(store.find("tiny"), ["tiny"], GenerationSettings(nodes=2, leader="127.0.0.1"))

    async def until_it_dies() -> None:
        running = asyncio.create_task(engine.run())
        while not engine.ready:
            await asyncio.sleep(0.01)
        engines.started[0].alive = False
        await running

    with pytest.raises(QuantbentoError, match="the engine of tiny died, on 2 machines"):
        asyncio.run(until_it_dies())
    assert len(engines.started) == 1
    assert engines.started[0].stopped
    assert engines.started[0].settings.nodes == 2


def test_the_model_has_its_full_tag_and_its_name(engines):
    engines.may_start.set()
    server = ServedLanguageModel(GenerationSettings(), "tiny")
    with TestClient(server.app) as client:
        until(lambda: server.ready)
        listed = client.get("/v1/models").json()
    tag = store.find("tiny").tag
    assert [card["id"] for card in listed["data"]] == engines.started[0].names == [tag, "tiny"]
    assert listed["data"][0]["max_model_len"] == 64


def test_a_newer_version_in_the_store_changes_no_names_of_the_running_one(engines, tmp_path):
    engines.may_start.set()
    server = ServedLanguageModel(GenerationSettings(), "renewed")
    (tmp_path / artifact.DESCRIPTION).write_text(json.dumps(DESCRIPTION))
    first = store.save("renewed", tmp_path, {}, {}, {})
    with TestClient(server.app) as client:
        until(lambda: server.ready)
        (tmp_path / artifact.DESCRIPTION).write_text(json.dumps(DESCRIPTION | {"schema_version": 1}))
        assert store.save("renewed", tmp_path, {}, {}, {}).tag != first.tag
        assert client.get("/v1/models").json()["data"][0]["id"] == first.tag


def test_the_engine_runs_as_it_was_judged(engines):
    engines.may_start.set()
    server = ServedLanguageModel(GenerationSettings(max_model_len="32"), "tiny")
    with TestClient(server.app):
        until(lambda: server.ready)
    settings = engines.started[0].settings
    assert (settings.kv_cache_gib, settings.max_model_len) == (0.5, 32)


def test_only_generation_is_exposed(engines):
    engines.may_start.set()
    with TestClient(ServedLanguageModel(GenerationSettings(), "tiny").app) as client:
        for path in ("/v1/responses", "/v1/embeddings", "/invocations", "/docs"):
            assert client.post(path, json={}).status_code == 404


def test_an_engine_that_cannot_start_ends_the_process(engines, monkeypatch):
    ended = []
    monkeypatch.setattr(generation_model.os, "kill", lambda *arguments: ended.append(arguments))
    engines.may_start.set()
    server = ServedLanguageModel(GenerationSettings(), "tiny")
    monkeypatch.setattr(engines, "open", no_memory)
    with TestClient(server.app):
        until(lambda: ended)
        assert not server.ready
    assert ended == [(os.getpid(), generation_model.signal.SIGTERM)]
