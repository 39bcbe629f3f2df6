"""Experts of a layer are quantized alike, counted, and refused where vLLM cannot run them."""

from __future__ import annotations

import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.quantizers.llm import checkpoint_quantizer, experts
from quantbento.quantizers.llm.rtn import Rtn
from tests import tiny_mixtures
from tests.trained_llama import job_of_trained

BLOCK = "model.layers.0.mlp.experts"
KEPT = {"group_size": 32, "ignore": ["lm_head", "*.experts.*"]}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return checkpoint.inspect(tiny_mixtures.write("qwen3", tmp_path_factory.mktemp("qwen3")))


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory):
    return tiny_mixtures.write("mixtral", tmp_path_factory.mktemp("mixtral"))


def preflight(facts, quantizer="rtn", **options):
    method = registry.quantizer(quantizer)()
    return method.preflight(facts, method.Options(**{"group_size": 32, **options}))


def test_quantized_experts_are_refused_on_cpus_without_amx(facts, monkeypatch):
    def unservable(ignore=("lm_head",)):
        return Rtn().unservable(facts, Rtn.Options(group_size=32, ignore=[*ignore]))

    for module in (experts, checkpoint_quantizer):
        monkeypatch.setattr(module, "runs_on_cpu", lambda: True)
    monkeypatch.setattr(experts, "has_amx", lambda: False)
    (told,) = unservable()
    assert "need AMX" in told and "Add '*.experts.*' to ignore" in told
    assert unservable(["lm_head", "*.experts.*"]) == []
    assert preflight(facts) == []  # it can be made here
    monkeypatch.setattr(experts, "has_amx", lambda: True)
    assert unservable() == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ignore": ["lm_head", "*.0.mlp.experts.1.*"]}, f"ignore names '{BLOCK}.1.gate_proj' but not all of"),
        ({"eight_bit": ["*.0.mlp.experts.1.up_proj"]}, f"eight_bit names '{BLOCK}.1.up_proj' but not all of"),
        ({"format": "gptq"}, "format 'gptq' has no way to say that routers stay in 16 bit"),
    ],
)
def test_choices_that_vllm_cannot_run(facts, monkeypatch, options, told):
    monkeypatch.setattr(experts, "has_amx", lambda: True)
    assert any(problem.startswith(told) for problem in preflight(facts, **options))


def test_an_expert_that_is_not_quantized_is_an_error_that_names_it(facts):
    chosen = [name for name in facts.linears if name != "lm_head"]
    experts.check_all(chosen, chosen)
    with pytest.raises(QuantbentoError, match=r"1 of 24 layers of experts are not quantized.*experts\.3\.up_proj"):
        experts.check_all(chosen, [name for name in chosen if name != f"{BLOCK}.3.up_proj"])


def test_experts_without_tokens_are_named():
    names = [f"{BLOCK}.{number}" for number in range(6)]
    assert experts.unseen_notes([], False) == []
    (told,) = experts.unseen_notes(names, False)
    assert "routed to 6 experts, which were rounded to nearest" in told and told.endswith(f"{BLOCK}.3 and 2 more")
    assert "calibrated on the tokens of the others" in experts.unseen_notes(names, True)[0]


def test_experts_are_named_as_the_checkpoint_names_them(mixtral):
    found = experts.in_checkpoint(checkpoint.inspect(mixtral), ["model.layers.1.mlp.experts.2"])
    assert found == ["model.layers.1.block_sparse_moe.experts.2"]


def test_bitsandbytes_says_that_it_leaves_experts(facts):
    method = registry.quantizer("bnb-nf4")()
    (told,) = method.preflight(facts, method.Options())
    assert "leaves in 16 bit" in told
    assert method.preflight(facts, method.Options(ignore=KEPT["ignore"])) == []


@pytest.mark.slow
def test_every_expert_is_quantized_counted_and_read_by_transformers(mixtral, tmp_path):
    method = registry.quantizer("rtn")()
    job = job_of_trained(mixtral, tmp_path / "work")
    done = method.quantize(job, method.Options(group_size=32), tmp_path)
    assert done.counts == {"W4A16 layers": 2 * (4 + 3 * tiny_mixtures.EXPERTS), "experts": 2 * tiny_mixtures.EXPERTS}
    assert done.left_out == []
    assert "8 of 8 experts are quantized; 2 routers stay in 16 bit" in done.notes
    before, after = checkpoint.tensors(mixtral), checkpoint.tensors(tmp_path)
    router = "model.layers.0.block_sparse_moe.gate.weight"
    assert before[router] == after[router]
    job.task.tokenizer.save_pretrained(tmp_path)
    runtime = registry.runtime("transformers")
    figures = [mean_logprob(runtime.load(folder, {}, threads=1), job) for folder in (mixtral, tmp_path)]
    assert abs(figures[0] - figures[1]) < 0.05  # experts that were filled with random numbers are far off


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_serves_it_with_experts_in_16_bit(mixtral, tmp_path):
    method = registry.quantizer("rtn")()
    job = job_of_trained(mixtral, tmp_path / "work")
    done = method.quantize(job, method.Options(**KEPT), tmp_path)
    assert done.counts == {"W4A16 layers": 2 * 4}
    assert "0 of 8 experts are quantized; 2 routers stay in 16 bit" in done.notes
    job.task.tokenizer.save_pretrained(tmp_path)
    engine = {"engine": {"max_model_len": 128, "kv_cache_gib": 0.25}}
    own = mean_logprob(registry.runtime("vllm").load(tmp_path, engine, threads=1), job)
    source = mean_logprob(registry.runtime("transformers").load(mixtral, {}, threads=1), job)
    assert abs(own - source) < 0.05


def mean_logprob(model, job):
    try:
        return float(model.score(job.calibration[:4, :32], 1)["token_logprobs"].mean())
    finally:
        model.close()
