"""Training with rounding wins back what rounding afterwards loses, through the user's own function."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.core.user_code import named_in
from quantbento.quantizers.torch import fx
from quantbento.quantizers.torch.qat import TorchQat, TorchQatOptions
from quantbento.tasks.metrics import sqnr_db
from quantbento.tasks.source import SampleSet
from tests.jobs import job_of, numbers, quantized

FUNCTIONS = """
import numpy as np
import torch
from torch import nn

calls = []

def train(model, samples, epochs, rate=0.01):
    calls.append((dict(model.named_parameters()), samples, epochs, model.training))
    x = torch.from_numpy(np.stack([s["x"] for s in samples.inputs]))
    y = torch.from_numpy(np.stack(samples.labels))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x=x), y).backward()
        optimizer.step()

def diverge(model, samples, epochs):
    train(model, samples, 1, rate=float("nan"))

def nothing(model, samples, epochs):
    pass

def fail(model, samples, epochs):
    raise KeyError("image")

not_a_function = 3
"""


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(2, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8 * 6, 3)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """The name of a module with the user's functions."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "training_of_tests.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path / "project")
    monkeypatch.delitem(sys.modules, "training_of_tests", raising=False)
    return "training_of_tests"


@pytest.fixture
def job(tmp_path):
    torch.manual_seed(0)
    module, x = Network().eval(), numbers(100, 2, 6)
    made = job_of(module, list(x), tmp_path)
    with torch.no_grad():
        labels = module(torch.from_numpy(x)).numpy()
    made.training = SampleSet([{"x": item} for item in x], list(labels))
    return made


@pytest.mark.parametrize("learnt", [True, False], ids=["learnt-scales", "observed-scales"])
def test_the_function_trains_a_model_that_becomes_int8(job, functions, tmp_path, monkeypatch, learnt):
    prepared = []
    convert = fx.convert
    monkeypatch.setattr(fx, "convert", lambda p, e: prepared.append(copy.deepcopy(p)) or convert(p, e))
    done, predictor = quantized(
        job, "torch-qat", tmp_path / "int8", train=f"{functions}:train", epochs=4, learnt_scales=learnt
    )
    (parameters, samples, epochs, training), *_ = sys.modules[functions].calls
    assert (samples, epochs, training) == (job.training, 4, True)
    assert done.counts == {"Conv1d": 1, "Linear": 1}
    assert done.quantized_parameters == 2 * 8 * 3 + 48 * 3
    learning = [n for n, p in parameters.items() if n.endswith("scale") and p.requires_grad]
    assert bool(learning) is learnt
    inputs = numbers(50, 2, 6, seed=1)
    with torch.no_grad():
        simulated = prepared[0].eval().apply(torch.ao.quantization.disable_observer)(torch.from_numpy(inputs)).numpy()
    assert sqnr_db(simulated, np.stack(predictor(list(inputs)))) > 35  # what was trained is what is stored
    assert type(job.source.module) is Network and not job.source.module.training


def test_the_source_is_not_trained(job, functions, tmp_path):
    before = copy.deepcopy(job.source.module.state_dict())
    quantized(job, "torch-qat", tmp_path / "int8", train=f"{functions}:train")
    assert all(torch.equal(before[n], value) for n, value in job.source.module.state_dict().items())


def test_frozen_weights_are_trained_too(job, functions, tmp_path):
    job.source.module.requires_grad_(False)
    quantized(job, "torch-qat", tmp_path / "int8", train=f"{functions}:train")
    (parameters, *_), *_ = sys.modules[functions].calls
    assert "head.weight" in parameters
    assert all(p.requires_grad for p in parameters.values())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "changed no weight: it has to train the model that it is given, in place"),
        ("diverge", "made .* infinite or not a number.*smaller learning rate"),
        ("fail", r"failed: KeyError: 'image'. It is called as train\(model, samples, epochs\)"),
        ("not_a_function", "is a int, not a function"),
        ("trian", "has no 'trian'; did you mean 'train'"),
    ],
)
def test_what_the_function_does_wrong_is_one_sentence(job, functions, tmp_path, function, message):
    with pytest.raises(QuantbentoError, match=f"'{functions}:{function}'.*{message}"):
        quantized(job, "torch-qat", tmp_path / "int8", train=f"{functions}:{function}")


def test_a_function_is_needed(job, tmp_path):
    with pytest.raises(QuantbentoError, match=r"name it in `options: \{train: module:function\}`"):
        quantized(job, "torch-qat", tmp_path / "int8")


def test_the_function_s_source_is_part_of_the_fingerprint():
    assert named_in(TorchQatOptions(train="training_of_tests:train")) == ["training_of_tests:train"]


def test_a_module_that_cannot_be_traced_is_found_early():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    (told,) = TorchQat().preflight_module(nn.Sequential(Branching()), TorchQatOptions())
    assert told.startswith("torch-qat cannot trace the model: test_qat.py, line")
    assert TorchQat().preflight_module(Network(), TorchQatOptions()) == []


@pytest.mark.slow
def test_training_wins_back_what_two_bits_lose(tmp_path):
    """Weights of two bits: three values. Static quantization loses many digits, training wins back more than half."""
    from examples import digits

    images, labels = digits.held_out()
    given, digit = digits.training()
    inputs = [digits.preprocess(image) for image in images]
    job = job_of(digits.model(), inputs, tmp_path)
    job.training = SampleSet([{"image": digits.preprocess(image)} for image in given], digit)
    job.calibration = job.task.calibrate(job.training.inputs[:256], None)

    def accuracy(scores):
        return float(np.mean(np.stack(scores).argmax(1) == labels))

    with torch.no_grad():
        full = accuracy(list(job.source.module(torch.from_numpy(np.stack(inputs))).numpy()))
    _, static = quantized(job, "torch-static", tmp_path / "static", weight_bits=2)
    _, trained = quantized(job, "torch-qat", tmp_path / "qat", weight_bits=2, train="examples.digits:train")
    lost = full - accuracy(static(inputs))
    assert lost > 0.1
    assert accuracy(trained(inputs)) > full - lost / 2
    weights = trained.runtime.module.head.get_submodule("1").weight().int_repr()
    assert set(weights.unique().tolist()) == {-1, 0, 1}
