"""vLLM in its own process scores and continues as Transformers does, with checkpoints in every format. If it dies or
cannot load something, that is one clear line."""

from __future__ import annotations

import os
import signal

import numpy as np
import psutil
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.transformers import TransformersRuntime
from quantbento.runtimes.vllm import VllmRuntime
from tests.quantizers.llm.test_rtn import AWQ, COMPRESSED, GPTQ
from tests.trained_llama import job_of_trained

pytestmark = pytest.mark.vllm
SMALL = {"engine": {"kv_cache_gib": 0.25, "max_model_len": 128}}
TOP = 5
PROMPTS = ["def __init__(self, ", "        if ", "parser.add_argument("]


def load(folder, config=SMALL):
    return VllmRuntime.load(folder, config, threads=2)


@pytest.fixture(scope="module")
def job(trained_llama, tmp_path_factory):
    return job_of_trained(trained_llama, tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def windows(job):
    return job.task.windows(job.samples.inputs)


@pytest.fixture(scope="module")
def prompts(job):
    return [job.task.text_ids(text) for text in PROMPTS]


@pytest.fixture(scope="module")
def engine(trained_llama):
    engine = load(trained_llama)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def reference(trained_llama):
    """The same checkpoint in the other runtime, in the same dtype."""
    return TransformersRuntime.load(trained_llama, {}, threads=1)


@pytest.fixture(scope="module")
def scores(engine, reference, windows):
    return engine.score(windows, TOP), reference.score(windows, TOP)


def perplexity(scores) -> float:
    return float(np.exp(-scores["token_logprobs"].mean()))


def test_scores_have_the_shapes_and_types_of_the_contract(scores):
    own, _ = scores
    assert {name: (values.shape, values.dtype) for name, values in own.items()} == {
        "token_logprobs": ((16, 63), np.float32),
        "top_ids": ((16, 63, TOP), np.int32),
        "top_logprobs": ((16, 63, TOP), np.float32),
    }
    assert (np.diff(own["top_logprobs"], axis=-1) <= 0).all()  # the most probable first


def test_scores_are_those_of_transformers(scores):
    own, other = scores
    assert np.abs(own["token_logprobs"] - other["token_logprobs"]).mean() < 0.02
    assert np.abs(own["top_logprobs"] - other["top_logprobs"]).mean() < 0.02
    assert (own["top_ids"][..., 0] == other["top_ids"][..., 0]).mean() > 0.95
    assert perplexity(own) == pytest.approx(perplexity(other), rel=0.005)


def test_a_listed_token_that_follows_has_one_logprob(scores, windows):
    own, _ = scores
    follows = own["top_ids"] == windows[:, 1:, None]
    assert follows.any(-1).mean() > 0.3
    listed = np.where(follows, own["top_logprobs"], 0).sum(-1)[follows.any(-1)]
    np.testing.assert_allclose(listed, own["token_logprobs"][follows.any(-1)], atol=1e-5)


def test_greedy_continuations_are_those_of_transformers(engine, reference, prompts):
    asked = Sampling(max_tokens=12)
    own, other = engine.generate(prompts, asked), reference.generate(prompts, asked)
    assert [len(g.token_ids) for g in own] == [12] * len(prompts)
    same = [a == b for g, o in zip(own, other, strict=True) for a, b in zip(g.token_ids, o.token_ids, strict=True)]
    assert np.mean(same) > 0.6  # where two tokens are about equally probable, bf16 may choose the other one
    assert [g.token_ids[0] for g in own] == [o.token_ids[0] for o in other]


def test_prompts_together_are_continued_as_alone_and_in_order(engine, prompts):
    asked = Sampling(max_tokens=4)
    together = engine.generate(prompts, asked)
    assert [engine.generate([prompt], asked)[0].token_ids for prompt in prompts] == [g.token_ids for g in together]
    assert len({tuple(g.token_ids) for g in together}) == len(prompts)


def test_stop_strings_end_the_text_and_are_not_part_of_it(engine, prompts):
    whole = engine.generate(prompts[:1], Sampling(max_tokens=12))[0]
    stop = whole.text[3:6]
    cut = engine.generate(prompts[:1], Sampling(max_tokens=12, stop=(stop,)))[0]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert (cut.finish_reason, whole.finish_reason) == ("stop", "length")


def test_speed_is_measured_on_continuations_of_one_length(engine, prompts):
    made = engine.generate(prompts, Sampling(max_tokens=40, temperature=2.0, seed=0, ignore_eos=True))
    assert [len(g.token_ids) for g in made] == [40] * len(prompts)


def test_a_seed_repeats_a_random_continuation(engine, prompts):
    asked = [Sampling(max_tokens=12, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (engine.generate(prompts[:1], sampling)[0].token_ids for sampling in asked)
    assert first == again != other


def test_peak_memory_is_the_engines_own(engine):
    own = psutil.Process(engine._process.pid).memory_info().rss
    assert 0.5 * own <= engine.peak_memory_bytes() < 20 * own
    assert engine.peak_memory_bytes() > 300e6  # vLLM alone


@pytest.mark.slow
@pytest.mark.parametrize("options", [COMPRESSED, GPTQ, AWQ], ids=["compressed-tensors", "gptq", "awq"])
def test_a_quantized_checkpoint_is_served_as_such(made, options, scores, windows):
    rtn = made("rtn", **options)
    engine = load(rtn.folder)
    try:
        found = engine.score(windows, TOP)
    finally:
        engine.close()
    assert engine._process.returncode == 0  # it ended by itself
    assert perplexity(found) == pytest.approx(perplexity(scores[0]), rel=0.06)
    assert np.abs(found["token_logprobs"] - scores[0]["token_logprobs"]).mean() > 0.02  # not the original


def test_a_killed_process_is_one_line(trained_llama, windows):
    engine = load(trained_llama)
    os.kill(engine._process.pid, signal.SIGKILL)
    engine._process.wait()
    with pytest.raises(QuantbentoError, match=r"^vLLM: the vLLM process ended \(.*\)$") as caught:
        engine.score(windows, TOP)
    assert "\n" not in str(caught.value)
    with pytest.raises(QuantbentoError, match=r"^vLLM: the vLLM process has ended already$"):
        engine.score(windows, TOP)
    engine.close()


@pytest.mark.parametrize(
    ("files", "config", "told"),
    [
        ([], SMALL, "{folder}"),
        (["config.json"], SMALL, "tokenizer"),
        (["config.json"], {"engine": {"max_model_len": 4096}}, "max_model_len (4096)"),
    ],
    ids=["empty", "no-tokenizer", "longer-than-the-model"],
)
def test_what_cannot_be_loaded_is_one_line(trained_llama, tmp_path, files, config, told):
    for name in files:
        (tmp_path / name).write_bytes((trained_llama / name).read_bytes())
    with pytest.raises(QuantbentoError, match=r"^vLLM: .+$") as caught:
        load(tmp_path, config)
    assert told.format(folder=tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
