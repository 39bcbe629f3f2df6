"""One table compares models on one device."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from quantbento.core import machine, registry
from quantbento.core.errors import QuantbentoError
from quantbento.making import placement
from quantbento.making.placement import choose_device
from quantbento.making.resolve import ResolvedVariant
from quantbento.recipe import Variant
from quantbento.runtimes.onnx import OnnxRuntime
from quantbento.runtimes.openvino import OpenVinoRuntime
from quantbento.runtimes.torch import TorchRuntime


def variant(quantizer: str, runtime) -> ResolvedVariant:
    spec = Variant(name=quantizer, quantizer=quantizer)
    return ResolvedVariant(spec, ("variants", 0), registry.quantizer(quantizer)(), None, runtime, spec.gates)


ON_CPU = variant("onnx-dynamic", OnnxRuntime)
ON_BOTH = variant("onnx-weights", OnnxRuntime)
OF_TORCH = variant("torchao", TorchRuntime)
INTEL = variant("openvino", OpenVinoRuntime)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """A machine with an NVIDIA GPU, and engines that can use it."""
    monkeypatch.setattr(machine, "devices", lambda: {"cpu", "cuda"})
    for runtime in (TorchRuntime, OnnxRuntime):
        monkeypatch.setattr(runtime, "device_problem", classmethod(lambda cls, device: None))


@pytest.mark.parametrize(
    ("variants", "device"),
    [
        ([ON_BOTH, OF_TORCH], "cuda"),
        ([ON_BOTH, ON_CPU], "cpu"),
        ([ON_BOTH, INTEL], "cpu"),
    ],
    ids=["all-can", "one-cannot", "none-in-common"],
)
def test_auto_is_the_gpu_only_where_every_variant_runs_there(variants, device):
    assert choose_device("auto", variants, TorchRuntime) == device


def test_auto_is_the_cpu_where_one_engine_cannot_use_the_gpu(monkeypatch):
    told = {"cuda": "a build for CPUs"}
    monkeypatch.setattr(OnnxRuntime, "device_problem", classmethod(lambda cls, device: told.get(device)))
    assert choose_device("auto", [ON_BOTH, OF_TORCH], TorchRuntime) == "cpu"
    with pytest.raises(QuantbentoError, match="the comparison cannot run on cuda: a build for CPUs"):
        choose_device("cuda", [ON_BOTH], TorchRuntime)


def test_variants_that_cannot_run_where_the_recipe_says_are_named():
    def found(device):
        recipe = SimpleNamespace(benchmark=SimpleNamespace(device=device))
        return list(placement.problems(SimpleNamespace(recipe=recipe, variants=[ON_CPU, ON_BOTH])))

    assert found("auto") == found("cpu") == []
    [problem] = found("cuda:1")
    assert problem.loc == ("variants", 0, "quantizer")
    assert problem.message.startswith("what onnx-dynamic makes runs on cpu; benchmark.device is 'cuda:1'")


def test_variants_without_a_device_in_common_are_told_apart():
    recipe = SimpleNamespace(benchmark=SimpleNamespace(device="auto"))
    on_gpu = variant("tensorrt", registry.runtime("tensorrt"))
    [problem] = placement.problems(SimpleNamespace(recipe=recipe, variants=[ON_CPU, on_gpu]))
    assert problem.loc == ("variants",)
    assert "no device runs all of them (onnx-dynamic: cpu; tensorrt: cuda)" in problem.message
    assert list(placement.problems(SimpleNamespace(recipe=recipe, variants=[on_gpu]))) == []


def test_full_precision_is_measured_in_the_devices_half_precision():
    assert TorchRuntime.reference_dtypes == {"cpu": ("bfloat16",), "cuda": ("float16", "bfloat16")}
