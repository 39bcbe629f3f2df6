"""A variant that answers nonsense is refused before its metrics are believed."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.judging.evaluate import checked_rows, evaluate, recovery
from quantbento.runtimes.predictor import Predictor
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.source import SampleSet
from tests.jobs import tensor_task

SAMPLES = SampleSet([[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]], labels=[0, 1, 1])


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def predictor(function=lambda x: x, outputs=("output",)):
    task = tensor_task({"x": [2]}, list(outputs))
    return Predictor(task, TorchRuntime(Apply(function), None, list(outputs)), {})


@pytest.fixture
def rows():
    return checked_rows(predictor(), SAMPLES, "the full-precision model")


def test_metrics_are_the_task_s(rows):
    metrics = evaluate(predictor(lambda x: x.flip(1)), rows, SAMPLES)
    assert (metrics["accuracy"], metrics["agreement"]) == (0, 0)
    assert metrics["max_error"] == 3
    assert evaluate(predictor(), rows, SAMPLES)["accuracy"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=["nan", "inf", "minus-inf"])
def test_a_variant_that_is_not_finite_is_refused(rows, value):
    broken = predictor(lambda x: torch.where(x == 2, value, x))
    with pytest.raises(QuantbentoError, match=r"the variant gives NaN or infinity in 'output' for 1 of 3 .* number 2$"):
        evaluate(broken, rows, SAMPLES)


def test_a_baseline_that_is_not_finite_is_refused():
    with pytest.raises(QuantbentoError, match=r"the full-precision model gives NaN .* for 3 of 3 samples"):
        checked_rows(predictor(lambda x: x * float("nan")), SAMPLES, "the full-precision model")


def test_another_shape_is_refused(rows):
    with pytest.raises(QuantbentoError, match=r"'output' is 3 rows of shape \(1,\); the baseline's is 3 .* \(2,\)"):
        evaluate(predictor(lambda x: x[:, :1]), rows, SAMPLES)


def test_a_missing_output_is_refused(rows):
    with pytest.raises(QuantbentoError, match=r"no output 'output'; it has 'scores'"):
        evaluate(predictor(lambda x: {"scores": x}, ["scores"]), rows, SAMPLES)


def test_a_variant_that_does_not_run_is_an_error_of_its_own(rows):
    """The fused path of PyTorch's own encoder needs a tensor that quantized layers do not have."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(2, 2, 4, batch_first=True), 1).eval()
    encoder = torch.ao.quantization.quantize_dynamic(encoder, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(QuantbentoError, match="the variant does not run on the samples: AttributeError: "):
        evaluate(predictor(lambda x: encoder(x[:, None])[:, 0]), rows, SAMPLES)


def test_a_bad_sample_is_named_by_its_place():
    with pytest.raises(InvalidInput, match=r"item 1: x must have shape \(2,\), not \(3,\)"):
        checked_rows(predictor(), SampleSet([[1.0, 2.0], [1.0, 2.0, 3.0]]), "the full-precision model")


def test_recovery_is_variant_over_baseline_where_that_means_something():
    better = {"accuracy": 1, "agreement": 1, "sqnr_db": 1, "new": 1}
    metrics = {"accuracy": 0.72, "agreement": 0.5, "sqnr_db": np.inf, "new": 1.0}
    baseline = {"accuracy": 0.8, "agreement": 0.0, "sqnr_db": 200.0}
    assert recovery(metrics, baseline, better) == {"accuracy": pytest.approx(0.9)}


@pytest.mark.parametrize(
    ("value", "recovered"),
    [(40.0, 0.8), (32.0, 1.0), (16.0, 2.0), (0.0, None), (np.inf, None)],
    ids=["worse", "equal", "better", "zero", "infinite"],
)
def test_where_smaller_is_better_recovery_is_baseline_over_variant(value, recovered):
    found = recovery({"perplexity": value}, {"perplexity": 32.0}, {"perplexity": -1})
    assert found == ({} if recovered is None else {"perplexity": recovered})
