"""Tiny models with samples to calibrate on. Tests share a model's export."""

import pytest
import torch
from torch import nn

from quantbento.recipe import Calibration
from tests.conftest import labelled_texts
from tests.jobs import job_of, numbers, onnx_file, text_job


def calibrated(job):
    checked = [job.task.check(item) for item in job.samples.inputs]
    job.calibration = job.task.calibrate(checked, Calibration(factory="module:function"))
    return job


@pytest.fixture(scope="package")
def encoder(tiny_encoder, tmp_path_factory):
    """A transformer of two layers."""
    texts = labelled_texts(16, seed=5)[0]
    return calibrated(text_job(tiny_encoder, "feature-extraction", texts, tmp_path_factory.mktemp("job")))


@pytest.fixture(scope="package")
def network(tmp_path_factory):
    """A convolutional network; its second convolution has one loud channel, which one scale does not suit."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    with torch.no_grad():
        layers[3].weight[0] *= 60
    return calibrated(job_of(nn.Sequential(*layers), list(numbers(24, 3, 12, 12)), tmp_path_factory.mktemp("job")))


@pytest.fixture(scope="package")
def mlp(tmp_path_factory):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 4))
    return calibrated(job_of(module, list(numbers(32, 64)), tmp_path_factory.mktemp("job")))


@pytest.fixture
def own_graph(tmp_path):
    """A user's ONNX file with two inputs and two matrix products."""
    path = onnx_file(
        tmp_path / "own.onnx",
        [("MatMul", ["left", "a"], ["x"]), ("MatMul", ["right", "b"], ["y"]), ("Sub", ["x", "y"], ["difference"])],
        {"left": ["batch", 16], "right": ["batch", 16]},
        {"difference": ["batch", 4]},
        {"a": numbers(16, 4, seed=1), "b": numbers(16, 4, seed=2)},
    )
    pairs = zip(numbers(20, 16, seed=3), numbers(20, 16, seed=4), strict=True)
    return calibrated(job_of(path, [{"left": left, "right": right} for left, right in pairs], tmp_path))
