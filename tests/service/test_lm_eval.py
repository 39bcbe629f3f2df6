"""lm-evaluation-harness against a real `bentoml serve`: its scores are those of the loaded artifact, and those of the
harness without a server."""

from __future__ import annotations

import os

import pytest

import quantbento
from examples.server import bento, serve
from quantbento.core.progress import Silent
from quantbento.judging.lm_eval.scores import scores
from quantbento.recipe.lm_eval import LmEval
from tests.conftest import ROOT, model_store
from tests.service.lm_eval_tasks import TASKS, lm_eval, offline_scores
from tests.stored_llama import store_llama
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.network]
NAME, START_SECONDS = "tiny-random-llama", 300
ENGINES = {
    "transformers": ({}, 3, 1e-3),
    # In bfloat16, what is in a batch together changes the last digits, and with them a random model's texts.
    "vllm": ({"engine": {"kv_cache_gib": 0.25, "max_model_len": 1024}}, 1, 0.05),
}


@pytest.mark.parametrize("runtime", ["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def test_scores_are_those_of_the_loaded_artifact(runtime, tmp_path, monkeypatch):
    if "QUANTBENTO_CACHE" not in os.environ:
        monkeypatch.setenv("QUANTBENTO_CACHE", str(ROOT / ".cache"))
    config, batch, tolerance = ENGINES[runtime]
    (tmp_path / "llama").mkdir()
    folder = write_tiny_llama(tmp_path / "llama")
    with model_store(tmp_path / "bentoml") as home:
        store_llama(NAME, folder, runtime, **config)
        loaded = quantbento.load(NAME)
        try:
            expected = offline_scores(loaded, tmp_path)
            tasks = LmEval.model_validate({"tasks": [*TASKS], "include_path": str(tmp_path), "batch_size": batch})
            offline = scores(loaded, tasks, NAME, Silent())
        finally:
            loaded.close()
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": NAME}
    with serve(bento("service:TextGeneration"), environment, tmp_path / "server.log", START_SECONDS) as server:
        found = lm_eval(server.url, NAME, tmp_path, batch)
    assert found.texts == expected.texts
    assert (found.accuracy, found.exact_match) == (expected.accuracy, expected.exact_match)
    # What a recipe's `lm_eval` reports of the same artifact, without a server.
    assert [offline[name]["value"] for name in TASKS] == [found.accuracy, found.exact_match]
    for one, other in zip(found.logprobs, expected.logprobs, strict=True):
        assert one == pytest.approx(other, abs=tolerance)
