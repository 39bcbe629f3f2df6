"""The file loads without the class and gives the same; what TorchScript would change silently is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.model_files import read_exported, read_torchscript
from quantbento.quantizers.torch import torchscript
from quantbento.quantizers.torch.torchscript import TorchScript, TorchScriptOptions
from tests import model_files
from tests.jobs import job_of, numbers, quantized, run_elsewhere, text_job

ANSWERS = """
import numpy as np, torch
module = torch.jit.load("int8/model.pt")
with torch.no_grad():
    np.save("answers.npy", module(torch.from_numpy(np.load("inputs.npy")))["scores"].numpy())
"""


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scores": self.second(torch.relu(self.first(x)))}


class Branching(nn.Module):
    """Negative sums are turned around: a trace would keep one way."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x)
        if x.sum() > 0:
            return x
        return -x


class Uncompilable(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x, **{})


class Noisy(nn.Module):
    """Gives something else every time."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + torch.rand_like(x)


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Named().eval()


@pytest.mark.parametrize("method", ["trace", "script"])
def test_int8_is_that_of_torch_dynamic(module, tmp_path, method):
    inputs = list(numbers(70, 8))
    job = job_of(module, inputs, tmp_path)
    done, predictor = quantized(job, "torchscript", tmp_path / method, method=method)
    same, dynamic = quantized(job, "torch-dynamic", tmp_path / "dynamic")
    assert isinstance(predictor.runtime.module, torch.jit.ScriptModule)
    assert done == same and done.counts == {"Linear": 2}
    np.testing.assert_allclose(np.stack(predictor(inputs)), np.stack(dynamic(inputs)), atol=1e-6)
    assert [p.name for p in (tmp_path / method).iterdir() if p.suffix != ".json"] == ["model.pt"]


@pytest.mark.parametrize("method", ["trace", "script"])
def test_full_precision_is_named_so(module, tmp_path, method):
    inputs = list(numbers(70, 8))
    done, predictor = quantized(
        job_of(module, inputs, tmp_path), "torchscript", tmp_path / "file", method=method, int8=False
    )
    assert TorchScript().scheme_of(TorchScriptOptions(int8=False)) == "float32"
    assert TorchScript().scheme_of(TorchScriptOptions()) == "int8-dynamic"
    assert (done.counts, done.quantized_parameters, done.parameters) == ({}, 0, 8 * 16 + 16 + 16 * 3 + 3)
    assert done.notes == ["full precision, as asked: nothing was quantized"]
    with torch.no_grad():
        expected = module(torch.from_numpy(np.stack(inputs)))["scores"].numpy()
    np.testing.assert_allclose(np.stack(predictor(inputs)), expected, atol=1e-6)


def test_a_branch_is_compiled_and_not_traced(tmp_path):
    torch.manual_seed(0)
    module, inputs = Branching().eval(), numbers(40, 4)
    job = job_of(module, list(inputs), tmp_path)
    message = r"at test_torchscript.py, line \d+, and the trace would .* `method: script`.*`keep_branches: true`"
    with pytest.raises(QuantbentoError, match=message):
        quantized(job, "torchscript", tmp_path / "trace")
    _, predictor = quantized(job, "torchscript", tmp_path / "script", method="script", int8=False)
    with torch.no_grad():
        expected = np.stack([module(torch.from_numpy(x[None]))[0].numpy() for x in inputs])
    np.testing.assert_allclose(np.stack([predictor([x])[0] for x in inputs]), expected, atol=1e-6)


def test_a_branch_that_is_kept_is_proven_and_noted(tmp_path):
    torch.manual_seed(0)
    module = Branching().eval()
    job = job_of(module, list(numbers(40, 4)), tmp_path)
    with torch.no_grad():
        module.layer.bias.fill_(9)  # the same way for all inputs
    done, _ = quantized(job, "torchscript", tmp_path / "same", keep_branches=True)
    assert len(done.notes) == 1
    assert "as with the example: test_torchscript.py, line" in done.notes[0]
    assert done.notes[0].endswith("equal on 3 batches")
    with torch.no_grad():
        module.layer.bias.fill_(0)
    job.calibration = [{"x": sign * numbers(1, 4)} for sign in (1, -1)]
    with pytest.raises(QuantbentoError, match="the result of `method: trace` differs from the model in 'output'"):
        quantized(job, "torchscript", tmp_path / "other", keep_branches=True)


def test_a_transformers_model_is_traced(tiny_encoder, tmp_path):
    texts = ["a good day", "one bad sentence that is longer than the other", "fine"]
    job = text_job(tiny_encoder, "feature-extraction", texts, tmp_path)
    done, predictor = quantized(job, "torchscript", tmp_path / "int8", keep_branches=True)
    _, dynamic = quantized(job, "torch-dynamic", tmp_path / "dynamic")
    assert done.counts["Linear"] >= 12 and isinstance(predictor.runtime.module, torch.jit.ScriptModule)
    (told,) = TorchScript().preflight_module(job.source.module, TorchScriptOptions())
    assert "with `keep_branches: true` only" in told
    assert TorchScript().preflight_module(job.source.module, TorchScriptOptions(keep_branches=True)) == []
    for some in ([texts[0]], texts, texts * 5):
        np.testing.assert_allclose(np.stack(predictor(some)), np.stack(dynamic(some)), atol=1e-5)


def test_code_that_cannot_be_compiled_can_be_traced(tmp_path):
    torch.manual_seed(0)
    job = job_of(Uncompilable().eval(), list(numbers(9, 4)), tmp_path)
    with pytest.raises(QuantbentoError, match=r"code cannot be compiled: .* Try `method: trace`"):
        quantized(job, "torchscript", tmp_path / "script", method="script")
    done, _ = quantized(job, "torchscript", tmp_path / "trace")
    assert done.counts == {"Linear": 1}


@pytest.mark.parametrize("method", ["trace", "script"])
def test_what_differs_from_the_model_is_not_saved(tmp_path, method):
    job = job_of(Noisy().eval(), list(numbers(9, 4)), tmp_path)
    message = f"the result of `method: {method}` differs from the model in 'output', on a batch of 1. Try `method: "
    with pytest.raises(QuantbentoError, match=message):
        quantized(job, "torchscript", tmp_path / "int8", method=method)
    assert not (tmp_path / "int8" / "model.pt").exists()


def test_calibration_samples_prove_it_too(module, tmp_path, monkeypatch):
    assert TorchScript.reads("calibration")
    job = job_of(module, list(numbers(20, 8)), tmp_path)
    job.calibration = job.task.calibrate([job.task.check(x) for x in numbers(17, 8)], None)
    scripted = torchscript._scripted

    def wrong(source):
        done = scripted(source)
        return lambda **batch: {"scores": done(**batch)["scores"] + (len(batch["x"]) == 17)}

    monkeypatch.setattr(torchscript, "_scripted", wrong)
    with pytest.raises(QuantbentoError, match="differs from the model in 'scores', on a batch of 17"):
        quantized(job, "torchscript", tmp_path / "int8", method="script")


def test_options_that_would_do_nothing_are_refused():
    with pytest.raises(ValidationError, match="exclude, per_channel would have no effect with int8: false"):
        TorchScriptOptions(int8=False, per_channel=False, exclude=["head"])
    with pytest.raises(ValidationError, match="keep_branches goes with method: trace"):
        TorchScriptOptions(method="script", keep_branches=True)


def test_files_are_refused_early(tmp_path):
    for module, message in (
        (read_torchscript(model_files.torchscript(tmp_path)), "is TorchScript already; torch-dynamic quantizes it"),
        (read_exported(model_files.exported(tmp_path)), "torchscript needs a module, and the model is a torch.export"),
    ):
        with pytest.raises(QuantbentoError, match=message):
            quantized(job_of(module, model_files.samples(), tmp_path), "torchscript", tmp_path / "int8")
        assert TorchScript().preflight_module(module, TorchScriptOptions())
    assert TorchScript().preflight_module(nn.Sequential(nn.ReLU()), TorchScriptOptions())
    assert TorchScript().preflight_module(nn.Sequential(nn.ReLU()), TorchScriptOptions(int8=False)) == []


@pytest.mark.slow
def test_it_loads_with_torch_alone_and_holds_no_path(module, tmp_path):
    inputs = numbers(6, 8)
    _, predictor = quantized(job_of(module, list(inputs), tmp_path), "torchscript", tmp_path / "int8")
    np.save(tmp_path / "inputs.npy", inputs)
    run_elsewhere(ANSWERS, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), np.stack(predictor(list(inputs))), atol=1e-6)
    assert str(tmp_path).encode() not in (tmp_path / "int8" / "model.pt").read_bytes()
    assert __file__.encode() not in (tmp_path / "int8" / "model.pt").read_bytes()
