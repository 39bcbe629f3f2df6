"""Tiny models with samples to calibrate on, and the environment of the converter."""

import os

import pytest
import torch
from torch import nn

from quantbento.recipe import Calibration
from tests.conftest import ROOT
from tests.jobs import job_of, numbers


def calibrated(job):
    checked = [job.task.check(item) for item in job.samples.inputs]
    job.calibration = job.task.calibrate(checked, Calibration(factory="module:function"))
    return job


class TwoInputs(nn.Module):
    """Takes three inputs, of which it does not use one, and gives two outputs."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x, unused, y):
        hidden = torch.relu(self.inner(x))
        return {"scores": self.head(hidden) + y, "hidden": hidden}


@pytest.fixture
def two_inputs(tmp_path):
    torch.manual_seed(0)
    items = [{"x": numbers(4, seed=i), "unused": numbers(2), "y": numbers(3, seed=i)} for i in range(70)]
    return calibrated(job_of(TwoInputs(), items, tmp_path))


@pytest.fixture
def network(tmp_path):
    """A convolutional network, with operators between its layers."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.ConvTranspose2d(8, 8, 2, stride=2)]
    layers += [nn.Softmax(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    return calibrated(job_of(nn.Sequential(*layers), list(numbers(24, 3, 12, 12)), tmp_path))


@pytest.fixture
def own_environment(monkeypatch):
    """Kept in the repository's cache, or where QUANTBENTO_CACHE says."""
    if "QUANTBENTO_CACHE" not in os.environ:
        monkeypatch.setenv("QUANTBENTO_CACHE", str(ROOT / ".cache"))
