"""What PT2E makes: a program in INT8 that loads alone, takes batches of any size, and is compiled where asked."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.torch.export import COMPILED, NOT_COMPILED, TorchExport, TorchExportOptions
from quantbento.runtimes.module_files import exported_module
from quantbento.runtimes.torch import TorchRuntime
from tests.conftest import labelled_texts
from tests.jobs import numbers, quantized, run_elsewhere, text_job
from tests.quantizers.torch.calibrated import fidelity, job

AS_IT_IS = {"compile": False}


def no_compiler():
    from torch._inductor import config

    return config.patch({"cpp.cxx": ("no-such-compiler",)})


@pytest.fixture
def mlp(tmp_path):
    torch.manual_seed(0)
    return job(nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 32)), numbers(20, 64), tmp_path)


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 4)]
    return job(nn.Sequential(*layers), numbers(12, 3, 8, 8), tmp_path)


@pytest.mark.parametrize(("dynamic", "scheme"), [(False, "int8-static"), (True, "int8-dynamic")])
def test_linear_layers_become_int8(mlp, tmp_path, dynamic, scheme):
    before = {name: p.clone() for name, p in mlp.source.module.named_parameters()}
    done, predictor = quantized(mlp, "torch-export", tmp_path / "q", dynamic=dynamic, **AS_IT_IS)
    assert done.counts == {"Linear": 2}
    assert done.quantized_parameters == 64 * 128 + 128 * 32
    assert done.parameters == done.quantized_parameters + 128 + 32
    assert done.notes == [NOT_COMPILED]
    assert 25 < fidelity(mlp.source.module, predictor, mlp.samples.inputs) < 80
    assert TorchExport().scheme_of(TorchExportOptions(dynamic=dynamic)) == scheme
    assert (tmp_path / "q" / "model.pt2").stat().st_size < 0.5 * 4 * done.parameters + 40_000, "no float weights"
    for name, p in mlp.source.module.named_parameters():
        assert torch.equal(p, before[name]), "the source is not changed"
    assert torch._inductor.config.pre_grad_custom_pass is None, "this process compiles as a server does"


def test_convolutions_become_int8_where_they_are_calibrated(network, tmp_path):
    done, predictor = quantized(network, "torch-export", tmp_path / "static", **AS_IT_IS)
    assert done.counts == {"Conv2d": 1, "Linear": 1}
    assert done.quantized_parameters == 8 * 3 * 9 + 72 * 4
    assert fidelity(network.source.module, predictor, network.samples.inputs) > 25
    done, predictor = quantized(network, "torch-export", tmp_path / "dynamic", dynamic=True, **AS_IT_IS)
    assert done.counts == {"Linear": 1}
    assert fidelity(network.source.module, predictor, network.samples.inputs) > 25


def test_an_encoder_takes_texts_of_any_length(tiny_encoder, tmp_path):
    texts = labelled_texts(6, seed=5)[0]
    encoder = text_job(tiny_encoder, "feature-extraction", texts, tmp_path)
    done, predictor = quantized(encoder, "torch-export", tmp_path / "q", dynamic=True, **AS_IT_IS)
    assert done.counts == {"Linear": 2 * 6}  # not the pooler, which no output needs
    together, alone = predictor(texts), [predictor([text])[0] for text in texts]
    np.testing.assert_allclose(np.stack(alone), np.stack(together), atol=0.1)


def test_an_exported_program_is_quantized_too(mlp, tmp_path):
    batch = torch.export.Dim.DYNAMIC
    program = torch.export.export(mlp.source.module, (torch.zeros(3, 64),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "model.pt2")
    exported = job(exported_module(torch.export.load(tmp_path / "model.pt2")), mlp.samples.inputs, tmp_path)
    done, predictor = quantized(exported, "torch-export", tmp_path / "q", exclude=["2"], **AS_IT_IS)
    assert done.counts == {"Linear": 1}
    assert 25 < fidelity(mlp.source.module, predictor, mlp.samples.inputs) < 80


def test_layers_can_be_left_out(mlp, tmp_path):
    done, _ = quantized(mlp, "torch-export", tmp_path / "q", exclude=["2"], **AS_IT_IS)
    assert (done.counts, done.quantized_parameters, done.left_out) == ({"Linear": 1}, 64 * 128, [])
    with pytest.raises(QuantbentoError, match=r"the pattern 'head' matches no layer that can be quantized"):
        quantized(mlp, "torch-export", tmp_path / "r", include=["head"], **AS_IT_IS)
    with pytest.raises(QuantbentoError, match=r"would quantize nothing: the exported model has 2 layers it can"):
        quantized(mlp, "torch-export", tmp_path / "r", exclude=["*"], **AS_IT_IS)


class Unusual(nn.Module):
    """A layer that is called twice, one of a class of its own, and one without a class."""

    def __init__(self):
        super().__init__()
        self.twice, self.own = nn.Linear(16, 16), type("Own", (nn.Linear,), {})(16, 16)
        self.weight = nn.Parameter(torch.randn(8, 16) / 4)

    def forward(self, x):
        return nn.functional.linear(self.own(self.twice(torch.relu(self.twice(x)))), self.weight)


@pytest.mark.parametrize("dynamic", [False, True])
def test_layers_of_any_class_are_found_and_counted_once(tmp_path, dynamic):
    torch.manual_seed(0)
    made = job(Unusual(), numbers(12, 16), tmp_path)
    done, predictor = quantized(made, "torch-export", tmp_path / "q", dynamic=dynamic, **AS_IT_IS)
    assert (done.counts, done.left_out) == ({"Linear": 3}, [])
    assert (done.quantized_parameters, done.parameters) == (2 * 16 * 16 + 8 * 16, 2 * (16 * 16 + 16) + 8 * 16)
    assert fidelity(made.source.module, predictor, made.samples.inputs) > 25
    done, _ = quantized(made, "torch-export", tmp_path / "r", dynamic=dynamic, exclude=["linear*", "twice"], **AS_IT_IS)
    assert (done.counts, done.quantized_parameters) == ({"Linear": 1}, 16 * 16)


def test_a_convolution_that_is_called_twice(tmp_path):
    convolution = nn.Conv2d(3, 3, 1)
    module = nn.Sequential(convolution, nn.ReLU(), convolution, nn.Flatten())
    made = job(module, numbers(8, 3, 4, 4), tmp_path)
    done, predictor = quantized(made, "torch-export", tmp_path / "q", **AS_IT_IS)
    assert (done.counts, done.left_out, done.quantized_parameters) == ({"Conv2d": 1}, [], 9)
    assert fidelity(module, predictor, made.samples.inputs) > 25


def test_convolutions_of_one_channel_stay_as_they_are(tmp_path):
    """Inductor cannot compile them."""
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten())
    done, predictor = quantized(job(module, numbers(8, 1, 8, 8), tmp_path), "torch-export", tmp_path / "q", **AS_IT_IS)
    assert (done.counts, done.quantized_parameters) == ({"Conv2d": 1}, 4 * 8 * 9)
    assert fidelity(module, predictor, numbers(8, 1, 8, 8)) > 25


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


def test_what_cannot_be_exported_is_said_in_a_sentence(tmp_path):
    with pytest.raises(QuantbentoError, match=r"torch-export cannot export the model: .*\. Use onnx-static or"):
        quantized(job(Deciding(), numbers(4, 4), tmp_path), "torch-export", tmp_path / "q", **AS_IT_IS)


def test_only_a_static_variant_needs_calibration():
    assert TorchExport().needs(TorchExportOptions()) == "calibration"
    assert TorchExport().needs(TorchExportOptions(dynamic=True)) is None


def test_what_cannot_be_done_is_known_before():
    linear = nn.Linear(4, 4)
    assert TorchExport().preflight_module(linear, TorchExportOptions()) == []
    scripted = torch.jit.script(linear)
    assert TorchExport().preflight_module(scripted, TorchExportOptions()) == [
        "torch-export cannot export TorchScript; use onnx-static or torch-dynamic"
    ]
    with no_compiler():
        (problem,) = TorchExport().preflight_module(linear, TorchExportOptions())
        assert TorchExport().preflight_module(linear, TorchExportOptions(compile=False)) == []
    assert "needs a C++ compiler, and there is none; install g++" in problem
    assert problem.endswith("or set compile: false")


def test_a_machine_that_serves_needs_a_compiler(mlp, tmp_path):
    said = r"the model is compiled when it is loaded: that needs a C\+\+ compiler"
    with no_compiler(), pytest.raises(QuantbentoError, match=said):
        quantized(mlp, "torch-export", tmp_path / "q")


def test_a_model_that_torch_cannot_compile():
    class Compiled(nn.Module):
        def forward(self, x):
            raise AssertionError("expected size 4==4, stride 1==36 at dim=1")

    runtime = TorchRuntime(Compiled(), None, ["output"], freezing=True)
    said = r"torch cannot compile the model: AssertionError: expected size .*; make it with `compile: false`"
    with pytest.raises(QuantbentoError, match=said):
        runtime.run({"x": numbers(2, 2)})


ELSEWHERE = """
import sys
from pathlib import Path
import numpy as np
from torch._dynamo.utils import counters
from quantbento.runtimes import artifact

predictor = artifact.load(Path(sys.argv[1]), threads=1)
inputs = list(np.load(sys.argv[2]))
np.save(sys.argv[3], np.stack(predictor(inputs)))
assert not any(name.startswith("torchao") for name in sys.modules), "serving needs torch alone"
print(counters["inductor"]["qlinear_weight_prepack_matcher_count"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"dynamic": True}], ids=["static", "dynamic"])
def test_it_is_compiled_where_it_is_loaded(mlp, tmp_path, options):
    done, predictor = quantized(mlp, "torch-export", tmp_path / "q", **options)
    assert done.notes == [COMPILED]
    here = np.stack(predictor(mlp.samples.inputs))
    assert fidelity(mlp.source.module, predictor, mlp.samples.inputs) > 25
    np.save(tmp_path / "inputs.npy", np.stack(mlp.samples.inputs))
    files = (str(tmp_path / name) for name in ("q", "inputs.npy", "outputs.npy"))
    assert run_elsewhere(ELSEWHERE, tmp_path, *files).split() == ["2"], "both layers run as INT8 kernels"
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), here, atol=1e-5)
    alone = [predictor([item])[0] for item in mlp.samples.inputs[:3]]
    np.testing.assert_allclose(np.stack(alone), here[:3], atol=0 if not options else 0.05)


@pytest.mark.slow
def test_convolutions_are_compiled(network, tmp_path):
    _, predictor = quantized(network, "torch-export", tmp_path / "q")
    assert fidelity(network.source.module, predictor, network.samples.inputs) > 25
    assert fidelity(network.source.module, predictor, network.samples.inputs[:1]) > 20
