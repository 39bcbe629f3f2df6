"""The table of schemes: what it says agrees with compressed-tensors and with the installed vLLM, and what cannot run
here is refused before any work."""

from __future__ import annotations

import importlib

import pytest
from pydantic import ValidationError

from quantbento.core import registry
from quantbento.quantizers.llm import schemes
from quantbento.quantizers.llm.schemes import SCHEMES
from tests.conftest import ROOT

NAMES = sorted(SCHEMES)
VLLM = "vllm.model_executor.layers.quantization.compressed_tensors.schemes"
CLASSES = {
    "W4A16": "CompressedTensorsWNA16",
    "W4A16_ASYM": "CompressedTensorsWNA16",
    "W8A16": "CompressedTensorsWNA16",
    "W8A8": "CompressedTensorsW8A8Int8",
    "FP8_DYNAMIC": "CompressedTensorsW8A16Fp8",  # what runs it below the capability of FP8 products
    "FP8_BLOCK": "CompressedTensorsW8A16Fp8",
    "NVFP4": "CompressedTensorsW4A4Fp4",
    "MXFP4": "CompressedTensorsW4A4Mxfp4",
}


@pytest.mark.parametrize("name", NAMES)
def test_bits_and_groups_are_those_of_compressed_tensors(name):
    from compressed_tensors.quantization import preset_name_to_scheme

    weights = preset_name_to_scheme(name, ["Linear"]).weights
    own = SCHEMES[name]
    assert own.bits == weights.num_bits
    expected = {"channel": -1, "block": 128}.get(weights.strategy, weights.group_size)
    assert own.group == (None if own.weights.endswith("per group") else expected)
    assert ("weight_zero_point" in own.also) == (not weights.symmetric)


@pytest.mark.vllm
@pytest.mark.parametrize("name", NAMES)
def test_compute_capability_is_vllms(name):
    found = getattr(importlib.import_module(VLLM), CLASSES[name])
    assert SCHEMES[name].capability == found.get_min_capability()


@pytest.mark.parametrize(
    ("name", "gpu", "runs"),
    [
        ("W4A16", 70, False),
        ("W4A16", 75, True),
        ("W8A8", 90, True),
        ("W8A8", 100, False),
        ("FP8_DYNAMIC", 80, True),
        ("MXFP4", 75, False),
        ("MXFP4", 80, True),
        ("NVFP4", 120, True),
    ],
)
def test_what_a_gpu_runs(name, gpu, runs):
    told = SCHEMES[name].problem_on_gpu(gpu)
    assert (told is None) == runs
    if told:
        assert f"compute capability is {gpu // 10}.{gpu % 10}" in told
        assert SCHEMES[name].needs() in told


@pytest.mark.parametrize(
    ("name", "flags", "told"),
    [
        ("W4A16", set(), None),
        ("FP8_DYNAMIC", {"avx512_vnni"}, None),
        ("FP8_BLOCK", {"amx_tile"}, None),
        ("FP8_BLOCK", {"avx512_vnni"}, "FP8_BLOCK does not run here: this CPU has no AMX"),
        ("NVFP4", {"amx_tile"}, "NVFP4 does not run here: vLLM has no kernel for it on CPUs"),
        ("W8A16", {"amx_tile"}, "W8A16 does not run here: vLLM has no kernel for it on CPUs"),
    ],
)
def test_what_a_cpu_runs(monkeypatch, name, flags, told):
    monkeypatch.setattr(schemes, "runs_on_cpu", lambda: True)
    monkeypatch.setattr(schemes.machine, "cpu_flags", lambda: flags)
    monkeypatch.setattr(schemes.machine, "missing_packages", lambda names: [])
    found = SCHEMES[name].problem_here()
    assert found is None if told is None else found.startswith(told)


def test_needs_are_one_line():
    assert SCHEMES["W8A8"].needs() == "a GPU of compute capability 7.5 to below 10.0, or a CPU"
    assert SCHEMES["NVFP4"].needs() == ("a GPU of compute capability 7.5 or higher (below 10.0 weights only); no CPU")


@pytest.mark.parametrize("quantizer", ["gptq", "autoround"])
def test_a_scheme_with_groups_of_its_own_takes_no_group_size(quantizer):
    options = registry.quantizer(quantizer).Options
    with pytest.raises(ValidationError, match="NVFP4 has its own; leave it out"):
        options(scheme="NVFP4", group_size=64)
    with pytest.raises(ValidationError, match="eight_bit goes with the schemes W4A16 and W4A16_ASYM"):
        options(scheme="NVFP4", eight_bit=["*"])
    assert options(scheme="W8A16", group_size=64).group_size == 64


def test_another_format_has_4_bit_integers():
    with pytest.raises(ValidationError, match="format 'awq' has 4-bit integers; W8A16 needs compressed-tensors"):
        registry.quantizer("autoround").Options(scheme="W8A16", format="awq")


@pytest.mark.parametrize(("scheme", "bits"), [("NVFP4", {4: 4.5}), ("MXFP4", {4: 4.25}), ("W8A16", {8: 8.125})])
def test_weight_bits_include_scales(scheme, bits):
    gptq = registry.quantizer("gptq")()
    assert gptq.weight_bits(gptq.Options(scheme=scheme)) == bits


def test_the_devices_are_the_schemes():
    gptq, runtime = registry.quantizer("gptq")(), registry.runtime("vllm")
    assert gptq.devices_of_result(runtime, gptq.Options()) == ("cpu", "cuda")
    assert gptq.devices_of_result(runtime, gptq.Options(scheme="NVFP4")) == ("cuda",)


def test_the_documentation_has_every_scheme():
    text = (ROOT / "docs" / "language-models.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in text] == []
