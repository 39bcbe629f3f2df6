"""Tiny models with samples to calibrate on, as wide as Model Optimizer needs a layer to be."""

import pytest
import torch
from torch import nn

from quantbento.recipe import Calibration
from tests.jobs import job_of, numbers


def calibrated(job):
    checked = [job.task.check(item) for item in job.samples.inputs]
    job.calibration = job.task.calibrate(checked, Calibration(factory="module:function"))
    return job


@pytest.fixture
def network(tmp_path):
    """Reads 8x8 images, as digits are: two convolutions, a hidden layer, and one too narrow for 8 bits."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)]
    return calibrated(job_of(nn.Sequential(*layers), list(numbers(70, 1, 8, 8)), tmp_path))
