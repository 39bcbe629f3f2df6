"""Engines that guess tokens or keep prefixes are compared with a plain one: same texts, speed, and what vLLM counts."""

from __future__ import annotations

import json

import pytest

from quantbento.core.progress import Silent
from quantbento.judging import decoding
from quantbento.judging.benchmark import Timing
from quantbento.judging.decoding import Comparison, Observed, compared, without
from quantbento.recipe import Benchmark
from quantbento.runtimes import artifact
from quantbento.runtimes.vllm import VllmRuntime
from tests.trained_llama import job_of_trained


def observed(texts, seconds: float, **more) -> Observed:
    timing = Timing({"p50": 1.0, "p90": 1.0, "p99": 1.0}, 64 / seconds, [seconds] * 3)
    return Observed(texts, 100 * seconds, timing, more.get("prefixes", {}), more.get("guesses", {}))


def test_what_it_wins_and_whether_texts_are_the_same():
    guesses = {
        "spec_decode_num_drafts": 10.0,
        "spec_decode_num_draft_tokens": 40.0,
        "spec_decode_num_accepted_tokens": 30.0,
    }
    own = observed([[1, 2], [3, 4]], 1.0, guesses=guesses)
    found = compared(own, observed([[1, 2], [3, 5]], 2.0))
    assert found["same_texts"] == 0.5
    assert found["speedup"]["median"] == 2.0
    assert (found["tokens_per_s"], found["plain"]["tokens_per_s"]) == (64.0, 32.0)
    assert (found["first_token_ms"], found["plain"]["first_token_ms"]) == (100.0, 200.0)
    assert (found["acceptance_rate"], found["tokens_per_pass"]) == (0.75, 4.0)
    assert found["prefix_hit_rate"] is None


def test_hits_are_a_share_of_the_tokens_that_were_looked_up():
    own = observed([[1]], 1.0, prefixes={"prefix_cache_queries": 200.0, "prefix_cache_hits": 150.0})
    found = compared(own, observed([[1]], 1.0))
    assert found["prefix_hit_rate"] == 0.75
    assert found["acceptance_rate"] is None


def test_the_plain_engine_differs_in_what_is_set_only():
    assert without({"dtype": "auto", "speculative_config": {"method": "ngram"}}) == {"speculative_config": None}
    assert without({"enable_prefix_caching": True}) == {"enable_prefix_caching": False}


@pytest.mark.vllm
@pytest.mark.slow
def test_an_engine_that_guesses_writes_the_plain_engines_texts(trained_llama, tmp_path):
    job = job_of_trained(trained_llama, tmp_path / "job")
    folder = tmp_path / "model"
    folder.mkdir()
    engine = {"kv_cache_gib": 0.25, "max_model_len": 256, "enable_prefix_caching": True}
    engine["speculative_config"] = {"method": "draft_model", "num_speculative_tokens": 3, "model": str(trained_llama)}
    job.complete(folder, VllmRuntime, VllmRuntime.write_reference(job, folder, "bfloat16"), engine=engine)
    kept = (folder / "artifact.json").read_text()
    assert json.loads(kept)["runtime_config"]["engine"]["speculative_config"]["model"] == "draft"
    assert str(trained_llama) not in kept
    settings = Benchmark(items=2, rounds=3, latency_calls=10, max_seconds=1, device="cpu", paired=False)
    comparison = Comparison("it", folder, job.samples.inputs, settings, 2, Silent())
    loaded = artifact.load(folder, 2, "cpu")
    comparison.observe(loaded)
    loaded.close()
    found = comparison.result()
    assert found["prompts"] <= decoding.PROMPTS
    assert found["same_texts"] == 1
    assert found["acceptance_rate"] > 0.9  # the draft model is the model
    assert found["prefix_hit_rate"] > 0.3
