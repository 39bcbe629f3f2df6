"""Convolutions and linear layers become INT8, and stay close; what cannot be traced is one sentence with its line."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.model_files import read_exported, read_torchscript
from quantbento.quantizers.torch.static import TorchStatic, TorchStaticOptions
from quantbento.runtimes import artifact
from tests import model_files
from tests.jobs import job_of, numbers, quantized, run_elsewhere
from tests.quantizers.torch.calibrated import fidelity, job

ANSWERS = """
import sys
from pathlib import Path
import numpy as np
from quantbento.runtimes import artifact
predictor = artifact.load(Path("int8"), threads=1)
np.save("answers.npy", np.stack(predictor(list(np.load("inputs.npy")))))
"""


class Residual(nn.Module):
    """Convolutions with batch normalisation, an addition, a transposed convolution and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4 * 12 * 12, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        x = self.up(torch.relu(x + self.block(x)))
        return self.head(x.flatten(1))


class Uneven(nn.Module):
    """Channels of sizes from 1 to 30, scaled to one size afterwards."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(32, 8, bias=False)
        self.register_buffer("scale", torch.logspace(0, 1.5, 8))
        self.linear.weight.data *= self.scale[:, None]

    def forward(self, x):
        return self.linear(x) / self.scale


class Wrapped(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    module = Residual()
    with torch.no_grad():
        for _ in range(3):  # batch normalisation with statistics of its own
            module(torch.from_numpy(numbers(32, 1, 6, 6)))
    return module.eval()


def test_every_layer_is_quantized_and_fused(network, tmp_path):
    inputs = numbers(70, 1, 6, 6)
    done, predictor = quantized(job(network, inputs, tmp_path), "torch-static", tmp_path / "int8")
    assert done.counts == {"Conv2d": 2, "Linear": 1}
    assert done.quantized_parameters == 8 * 9 + 8 * 8 * 9 + 4 * 144 * 5
    assert done.parameters == sum(p.numel() for p in network.parameters())
    assert done.left_out == []
    assert 25 < fidelity(network, predictor, inputs) < 70  # near the original, and not the original itself
    module = predictor.runtime.module
    assert not any(isinstance(m, nn.BatchNorm2d | nn.ReLU) for m in module.modules())
    assert type(module.up) is nn.ConvTranspose2d  # whose INT8 kernels are wrong
    added = [str(node.target) for node in module.graph.nodes if "add" in str(node.target)]
    assert added and all("quantized" in target for target in added)


@pytest.mark.parametrize(
    ("options", "counts", "left"),
    [
        ({"include": ["head"]}, {"Linear": 1}, {"stem.0", "block.0"}),
        ({"exclude": ["stem*"]}, {"Conv2d": 1, "Linear": 1}, {"stem.0"}),
    ],
    ids=["include", "exclude"],
)
def test_patterns_choose_layers(network, tmp_path, options, counts, left):
    done, predictor = quantized(
        job(network, numbers(20, 1, 6, 6), tmp_path), "torch-static", tmp_path / "int8", **options
    )
    modules = dict(predictor.runtime.module.named_modules())
    assert done.counts == counts
    assert {n for n in ("stem.0", "block.0", "head") if "quantized" not in type(modules[n]).__module__} == left


def test_fewer_bits_are_coarser(network, tmp_path):
    inputs, found = numbers(40, 1, 6, 6), []
    for options in ({}, {"reduce_range": True}, {"weight_bits": 4}, {"weight_bits": 2}):
        folder = tmp_path / str(options)
        _, predictor = quantized(job(network, inputs, tmp_path), "torch-static", folder, **options)
        found.append(fidelity(network, predictor, inputs))
    assert found[0] > found[1] + 1 > found[2] + 2 > found[3] + 3


def test_one_scale_for_all_channels_is_coarser_where_they_are_uneven(tmp_path):
    torch.manual_seed(0)
    module, inputs = Uneven().eval(), numbers(60, 32)
    found = {}
    for per_channel in (True, False):
        made, folder = job(module, inputs, tmp_path), tmp_path / str(per_channel)
        _, predictor = quantized(made, "torch-static", folder, weight_bits=4, per_channel=per_channel)
        found[per_channel] = fidelity(module, predictor, inputs)
    assert found[True] > found[False] + 5


def test_the_histogram_cuts_an_outlier_off(tmp_path):
    torch.manual_seed(0)
    module, inputs = nn.Sequential(nn.Linear(32, 4)).eval(), numbers(4000, 32)
    inputs[0, 0] = 9
    scales = {}
    for observer in ("histogram", "minmax"):
        made = job(module, inputs, tmp_path)
        _, predictor = quantized(made, "torch-static", tmp_path / observer, observer=observer)
        scales[observer] = float(_scale(predictor))
    lowest = abs(float(inputs.min()))
    assert scales["minmax"] == pytest.approx((lowest + 9) / 255, rel=0.01)
    assert scales["histogram"] < 0.85 * scales["minmax"]


def _scale(predictor):
    """Of the model's input."""
    module = predictor.runtime.module
    return next(value for name, value in module.named_buffers() if "input_scale" in name)


def test_the_source_module_is_not_changed(network, tmp_path):
    before = copy.deepcopy(network.state_dict())
    quantized(job(network, numbers(8, 1, 6, 6), tmp_path), "torch-static", tmp_path / "int8")
    assert type(network) is Residual and type(network.stem[0]) is nn.Conv2d
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (nn.Sequential(nn.ReLU()), {}, "would quantize nothing: inside the model are 0 layers"),
        (nn.Linear(3, 2), {}, "would quantize nothing: inside the model are 0 layers"),
        (nn.Sequential(nn.Linear(3, 2)), {"exclude": ["*"]}, "are 1 layers .* the patterns leave none"),
        (nn.Sequential(nn.Linear(3, 2)), {"include": ["head"]}, "'head' matches no layer that can be quantized"),
        (nn.Sequential(nn.Linear(3, 2)), {"untraced": ["head"]}, "'head' matches no module"),
    ],
    ids=["no-such-layer", "a-bare-layer", "all-excluded", "no-such-name", "no-such-module"],
)
def test_nothing_to_quantize_is_an_error(module, options, message, tmp_path):
    made = job(module, numbers(2, 3), tmp_path)
    with pytest.raises(QuantbentoError, match=message):
        quantized(made, "torch-static", tmp_path / "int8", **options)
    assert TorchStatic().preflight_module(module, TorchStaticOptions(**options))


def test_a_layer_that_the_model_does_not_call_is_left_out(tmp_path):
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(8, 4), nn.Linear(8, 4)

        def forward(self, x):
            return self.used(x)

    done, _ = quantized(job(Spare().eval(), numbers(4, 8), tmp_path), "torch-static", tmp_path / "int8")
    assert (done.counts, done.left_out) == ({"Linear": 1}, ["spare"])


def test_files_have_no_code_to_trace(tmp_path):
    for module in (
        read_torchscript(model_files.torchscript(tmp_path)),
        read_exported(model_files.exported(tmp_path)),
    ):
        made = job_of(module, model_files.samples(), tmp_path)
        made.calibration = []
        with pytest.raises(QuantbentoError, match=r"traces a model's Python code, and .* has none. Use onnx-static"):
            quantized(made, "torch-static", tmp_path / "int8")


def test_the_backend_s_kernels_serve_it(network, tmp_path, monkeypatch):
    from quantbento.runtimes import torch as runtime

    read, engines, before = runtime.read, [], torch.backends.quantized.engine
    monkeypatch.setattr(runtime, "read", lambda *a: engines.append(torch.backends.quantized.engine) or read(*a))
    made = job(network, numbers(20, 1, 6, 6), tmp_path)
    for backend in ("onednn", "qnnpack", None):
        folder = tmp_path / str(backend)
        _, predictor = quantized(made, "torch-static", folder, backend=backend)
        assert fidelity(network, predictor, numbers(20, 1, 6, 6)) > 25
        assert artifact.describe(folder)["runtime_config"].get("quantized_engine") == backend
        assert torch.backends.quantized.engine == before
    assert engines == ["onednn", "qnnpack", before]


def test_a_backend_that_is_not_there_is_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["x86"])
    with pytest.raises(QuantbentoError, match="backend: qnnpack cannot run on this machine, whose torch has 'x86'"):
        quantized(job(network, numbers(4, 1, 6, 6), tmp_path), "torch-static", tmp_path / "int8", backend="qnnpack")


def test_the_compiled_form_gives_the_same(network, tmp_path):
    made, inputs = job(network, numbers(20, 1, 6, 6), tmp_path), list(numbers(70, 1, 6, 6, seed=1))
    done, pickled = quantized(made, "torch-static", tmp_path / "pickle")
    same, compiled = quantized(made, "torch-static", tmp_path / "script", form="torchscript")
    assert isinstance(compiled.runtime.module, torch.jit.ScriptModule)
    assert (tmp_path / "script" / "model.pt").is_file() and done == same
    np.testing.assert_allclose(np.stack(compiled(inputs)), np.stack(pickled(inputs)), atol=1e-6)


def test_what_cannot_be_compiled_says_so(tmp_path):
    class Starred(nn.Module):
        def forward(self, *x):
            return x[0]

    module = nn.Sequential(nn.Linear(8, 4), Starred()).eval()
    made = job(Wrapped(module), numbers(4, 8), tmp_path)
    with pytest.raises(QuantbentoError, match=r"cannot be compiled to TorchScript: .* Leave `form` out"):
        quantized(made, "torch-static", tmp_path / "int8", untraced=["module.1"], form="torchscript")


@pytest.mark.slow
def test_it_loads_in_another_process_and_holds_no_path(network, tmp_path):
    inputs = numbers(6, 1, 6, 6)
    _, predictor = quantized(job(network, inputs, tmp_path), "torch-static", tmp_path / "int8")
    np.save(tmp_path / "inputs.npy", inputs)
    run_elsewhere(ANSWERS, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), np.stack(predictor(list(inputs))))
    pickled = (tmp_path / "int8" / "model.pkl").read_bytes()
    assert __file__.encode() not in pickled and b"Residual" not in pickled
