"""vLLM's pooling runner gives what PyTorch gives: embeddings, classes, scores and entities, of short and long texts."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import ValidationError

from quantbento.runtimes import artifact, vllm_pooling, vllm_settings
from quantbento.runtimes.torch import TorchRuntime
from quantbento.runtimes.vllm_pooling import PoolingSettings, VllmPoolingRuntime
from tests.conftest import labelled_texts
from tests.jobs import quantized, text_job

TEXTS = [*labelled_texts(12, seed=3)[0], "good", "the film was very good and the plot was dull " * 20]
PAIRS = [{"query": query, "document": text} for query in ("good film", "plot") for text in TEXTS]


@pytest.mark.parametrize(
    ("given", "on_cpu", "expected"),
    [
        ({}, True, {"kv_cache_memory_bytes": 2**30, "enforce_eager": True}),
        ({}, False, {"gpu_memory_utilization": 0.3}),
        ({"gpu_memory_utilization": 0.8}, False, {"gpu_memory_utilization": 0.8}),
        ({"kv_cache_gib": 2, "max_num_seqs": 4}, False, {"kv_cache_memory_bytes": 2**31, "max_num_seqs": 4}),
    ],
    ids=str,
)
def test_settings_become_the_engines(monkeypatch, given, on_cpu, expected):
    monkeypatch.setattr(vllm_pooling, "runs_on_cpu", lambda: on_cpu)
    monkeypatch.setattr("quantbento.runtimes.vllm_settings.runs_on_cpu", lambda: on_cpu)
    arguments = PoolingSettings(**given).engine("bfloat16", 128).arguments()
    always = {"dtype": "bfloat16", "max_model_len": 128, "kv_cache_dtype": "auto", "tensor_parallel_size": 1}
    assert arguments == {**always, **expected}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max_model_len": 64}, "max_model_len\n  Extra inputs are not permitted"),
        ({"kv_cache_gib": 1, "gpu_memory_utilization": 0.5}, "give kv_cache_gib or gpu_memory_utilization"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(given, told):
    with pytest.raises(ValidationError, match=told):
        PoolingSettings(**given)


def test_what_it_does_not_run_is_said():
    problem = VllmPoolingRuntime.model_problem
    assert problem("feature-extraction", {"model_type": "bert"}) is None
    assert "does not run tensor; it runs feature-extraction" in str(problem("tensor", {"model_type": "bert"}))
    told = "does not run token-classification by models of the type 'qwen3'; by 'bert'"
    assert told in str(problem("token-classification", {"model_type": "qwen3"}))


def test_heads_that_have_no_attention_on_cpus_are_said_where_it_has_to_run(monkeypatch):
    config = {"model_type": "bert", "hidden_size": 384, "num_attention_heads": 8}
    problem, task = VllmPoolingRuntime.model_problem, "feature-extraction"
    monkeypatch.setattr(vllm_settings, "runs_on_cpu", lambda: True)
    assert "heads have 48 channels; vLLM's build for CPUs runs heads of 32, 64, 80" in str(problem(task, config))
    assert problem(task, config, here=False) is None
    assert problem(task, config | {"num_attention_heads": 12}) is None
    assert problem(task, config | {"head_dim": 64}) is None
    monkeypatch.setattr(vllm_settings, "runs_on_cpu", lambda: False)
    assert problem(task, config) is None


class Echo:
    """Stands in for the process: a row is the text's token ids, or one row for each of its tokens."""

    def __init__(self, for_each: bool) -> None:
        self.for_each = for_each

    def ask(self, method, ids, types):
        self.types = types
        return [np.array([[i, i] for i in s] if self.for_each else [len(s)], np.float32) for s in ids]


def runtime_for(task: str) -> VllmPoolingRuntime:
    runtime = object.__new__(VllmPoolingRuntime)
    runtime._task, runtime._process = task, Echo(task == "token_classify")
    return runtime


BATCH = {
    "input_ids": np.array([[5, 6, 7], [8, 0, 0]]),
    "attention_mask": np.array([[1, 1, 1], [1, 0, 0]]),
    "token_type_ids": np.array([[0, 0, 1], [0, 0, 0]]),
}


@pytest.mark.parametrize(("task", "output"), [("embed", "embedding"), ("classify", "logits")])
def test_padding_does_not_go_to_the_engine(task, output):
    runtime = runtime_for(task)
    found = runtime.run(BATCH)
    assert {name: values.tolist() for name, values in found.items()} == {output: [[3], [1]]}
    assert runtime._process.types == [[0, 0, 1], [0]]


def test_logits_of_tokens_are_padded_again():
    found = runtime_for("token_classify").run(BATCH)["logits"]
    assert found.tolist() == [[[5, 5], [6, 6], [7, 7]], [[8, 8], [0, 0], [0, 0]]]


# With vLLM. One engine per test: seconds each, and more where it is imported first.


def one_head(model, folder):
    """The same weights with one head of 32 instead of two of 16, which vLLM's attention on CPUs does not take."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 1}))
    return folder


def baseline(job, folder):
    folder.mkdir()
    job.complete(folder, TorchRuntime, TorchRuntime.write_reference(job, folder, "float32"))
    return artifact.load(folder, threads=1)


def full_precision(job, folder):
    folder.mkdir()
    job.complete(folder, VllmPoolingRuntime, VllmPoolingRuntime.write_reference(job, folder, "float32"))
    return artifact.load(folder, threads=1)


@pytest.fixture(scope="module")
def embeddings(tiny_encoder, tmp_path_factory):
    """PyTorch's and vLLM's models of the same encoder, in float32."""
    folder = tmp_path_factory.mktemp("embeddings")
    job = text_job(one_head(tiny_encoder, folder / "model"), "feature-extraction", TEXTS, folder / "work")
    ours = full_precision(job, folder / "vllm")
    yield baseline(job, folder / "torch"), ours
    ours.close()


@pytest.mark.vllm
def test_embeddings_are_those_of_pytorch(embeddings):
    theirs, ours = (model.rows(TEXTS)["embedding"] for model in embeddings)
    assert np.abs(ours - theirs).max() < 1e-4
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


@pytest.mark.vllm
def test_many_threads_ask_at_once(embeddings):
    _, ours = embeddings
    expected = ours.rows(TEXTS)["embedding"]
    assert ours.parallel == VllmPoolingRuntime.calls_at_once
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda text: ours.answers(ours.check([text]), here=True)[0], TEXTS * 4))
    np.testing.assert_allclose(np.array(found), np.concatenate([expected] * 4), atol=1e-5)
    assert ours.runtime.peak_memory_bytes() > 1e8


@pytest.mark.vllm
def test_scores_of_pairs_are_those_of_pytorch(tiny_ranker, tmp_path):
    """Which text a token is of is told to vLLM: the ranker has embeddings for it."""
    job = text_job(one_head(tiny_ranker, tmp_path / "model"), "text-ranking", PAIRS, tmp_path / "work")
    ours = full_precision(job, tmp_path / "vllm")
    theirs, found = (model.rows(PAIRS)["logit"] for model in (baseline(job, tmp_path / "torch"), ours))
    ours.close()
    assert np.ptp(theirs) > 0.1
    assert np.abs(found - theirs).max() < 1e-3


@pytest.mark.vllm
def test_classes_in_bf16_are_those_of_pytorch(tiny_classifier, tmp_path):
    job = text_job(one_head(tiny_classifier, tmp_path / "model"), "text-classification", TEXTS, tmp_path / "work")
    theirs = baseline(job, tmp_path / "torch")(TEXTS)
    _, ours = quantized(job, "vllm-pooling", tmp_path / "bf16")
    found = ours(TEXTS)
    ours.close()
    assert [answer["label"] for answer in found] == [answer["label"] for answer in theirs]
    assert max(abs(a["score"] - b["score"]) for a, b in zip(found, theirs, strict=True)) < 0.02


@pytest.mark.vllm
def test_entities_are_those_of_pytorch(tiny_tagger, tmp_path):
    job = text_job(one_head(tiny_tagger, tmp_path / "model"), "token-classification", TEXTS, tmp_path / "work")
    ours = full_precision(job, tmp_path / "vllm")
    theirs, found = (model.rows(TEXTS) for model in (baseline(job, tmp_path / "torch"), ours))
    ours.close()
    assert found.keys() == theirs.keys()
    texts = zip(theirs["probabilities"], found["probabilities"], strict=True)  # words by labels each
    assert all(np.abs(one - other).max() < 1e-3 for one, other in texts)
