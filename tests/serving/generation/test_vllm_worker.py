"""A machine that only computes: what it takes from the Bento's service, and what it refuses."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from quantbento import store
from quantbento.runtimes import artifact
from quantbento.serving.errors import CannotServe
from quantbento.serving.generation import vllm_worker
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.settings import GenerationSettings
from tests.conftest import model_store

SECOND = {"nodes": 2, "node_rank": 1, "leader": "10.0.0.1"}


@pytest.fixture
def saved(tmp_path):
    """Stores models that hold nothing but their description."""
    with model_store(tmp_path / "home"):

        def save(name: str, runtime: str = "vllm", **engine: object) -> None:
            folder = tmp_path / name
            folder.mkdir()
            described = {"task": "text-generation", "runtime": runtime, "runtime_config": {"engine": engine}}
            (folder / artifact.DESCRIPTION).write_text(json.dumps(described))
            store.save(name, folder, {}, {}, {})

        yield save


def served(name: str, **settings: object) -> ServedLanguageModel:
    return ServedLanguageModel(GenerationSettings(**settings), name)


def test_it_has_the_engine_settings_of_the_service_and_its_place(saved):
    saved("llm", max_model_len=512, tensor_parallel_size=2)
    engine = vllm_worker.engine_of(served("llm", **SECOND, max_model_len=256))
    assert (engine.max_model_len, engine.tensor_parallel_size) == (256, 2)
    assert (engine.nodes, engine.node_rank, engine.leader) == (2, 1, "10.0.0.1")


def test_the_first_machine_is_sent_to_the_service(saved):
    saved("llm")
    with pytest.raises(CannotServe, match="node_rank=0 is the machine that answers requests, by bentoml serve"):
        vllm_worker.engine_of(served("llm", nodes=2, leader="10.0.0.1"))


def test_a_model_of_another_runtime_is_refused(saved):
    saved("small", runtime="transformers")
    with pytest.raises(CannotServe, match="nodes"):
        vllm_worker.engine_of(served("small", **SECOND))


def test_a_damaged_model_is_refused(saved):
    saved("llm")
    (store.find("llm").path / artifact.DESCRIPTION).write_text("{}")
    with pytest.raises(CannotServe):
        vllm_worker.engine_of(served("llm", **SECOND))


def test_a_service_of_another_kind_is_named():
    service = SimpleNamespace(name="Embedding", inner=SimpleNamespace(served=None))
    with pytest.raises(CannotServe, match="the service Embedding generates no text"):
        vllm_worker.served_by(service)


def test_it_finds_the_model_behind_the_projects_own_service():
    import service

    assert vllm_worker.served_by(service.TextGeneration) is service.language_model
