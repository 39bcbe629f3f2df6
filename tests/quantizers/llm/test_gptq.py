"""The quantizer around the worker that `tests/quantizers/llm/workers/test_llm_compressor.py` tests."""

from __future__ import annotations

import pytest

from quantbento.quantizers.llm import llm_compressor_base
from quantbento.quantizers.llm.gptq import Gptq, GptqOptions
from tests.trained_llama import check_scheme


@pytest.mark.slow
def test_layers_are_counted_and_small(made):
    done = made("gptq").done
    assert done.counts == {"W4A16 layers": 14}
    assert done.left_out == []
    assert 0.25 < done.weight_ratio <= 0.30


@pytest.mark.slow
def test_its_error_on_the_calibration_data_is_lower_than_round_to_nearests(made):
    assert made("gptq").error() < 0.5 * made("rtn").error()


@pytest.mark.slow
def test_the_checkpoint_says_what_it_is(made):
    config = made("gptq").config()
    assert config["quant_method"] == "compressed-tensors"
    assert config["ignore"] == ["lm_head"]


def test_the_scheme_is_the_options():
    assert Gptq().scheme_of(GptqOptions(scheme="W4A16_ASYM")) == "W4A16_ASYM"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "ratio", "least", "most"),
    [
        ("W8A16", 0.51, 1e-7, 0.01),
        ("W8A8", 0.51, 1e-7, 0.05),
        ("NVFP4", 0.29, 1e-4, 0.3),
        ("MXFP4", 0.27, 1e-4, 0.5),
    ],
)
def test_other_schemes_are_counted_small_and_near_the_source(made, scheme, ratio, least, most):
    check_scheme(made("gptq", scheme=scheme), scheme, ratio, least, most)


@pytest.mark.slow
def test_a_row_may_have_one_scale(made):
    gptq = made("gptq", group_size=-1)
    assert gptq.done.counts == {"W4A16 layers": 14}
    assert gptq.config()["config_groups"]["group_0"]["weights"]["strategy"] == "channel"
    scales = [tensor for name, tensor in gptq.tensors().items() if name.endswith(".weight_scale")]
    assert len(scales) == 14 and all(scale.shape[1] == 1 for scale in scales)
    assert gptq.error() < made("rtn", group_size=-1).error()


@pytest.mark.slow
def test_the_kv_cache_has_calibrated_scales(made):
    gptq = made("gptq", kv_cache="fp8")
    assert gptq.done.notes[1] == "KV cache in FP8: 2 k_scale, 2 v_scale"
    assert gptq.config()["kv_cache_scheme"]["type"] == "float"
    scales = [t for name, t in gptq.tensors().items() if name.endswith((".k_scale", ".v_scale"))]
    assert all(0 < float(scale) != 1.0 for scale in scales)  # 1 is what vLLM takes where none is calibrated


def test_a_kv_cache_in_fp8_needs_a_cpu_with_avx_512(monkeypatch):
    gptq, fp8 = Gptq(), GptqOptions(kv_cache="fp8")
    monkeypatch.setattr(llm_compressor_base, "runs_on_cpu", lambda: True)
    monkeypatch.setattr(llm_compressor_base.machine, "cpu_flags", lambda: {"avx2"})
    assert "or a CPU with AVX-512 or AMX" in gptq.serving_needs(fp8)
    assert gptq.serving_problem(fp8).startswith("a KV cache in FP8 does not run here")
    assert gptq.serving_problem(GptqOptions()) is None
    monkeypatch.setattr(llm_compressor_base.machine, "cpu_flags", lambda: {"avx2", "avx512f"})
    assert gptq.serving_problem(fp8) is None
