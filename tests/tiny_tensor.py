"""A small `tensor` model whose preprocessing turns a list of 4 digits into the model's input."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))


def preprocess(item: object) -> np.ndarray:
    """Halves its input, so that applying it twice would show."""
    return np.asarray(item, dtype=np.float32) / 2


def samples() -> list[list[float]]:
    return np.random.default_rng(0).normal(size=(16, 4)).tolist()
