"""Small models with inputs of several types and sizes, for the tensor task."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


class Pooled(nn.Module):
    """Sequences of any length to three numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.last = nn.Linear(4, 32), nn.Linear(32, 3)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        return self.last(self.linear(steps).relu().mean(1))


class Typed(nn.Module):
    """An image of any size, ids, a switch, and a rate that a batch shares; gives floats, integers and an image."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Embedding(100, 16), nn.Linear(16, 4)

    def forward(
        self, image: torch.Tensor, ids: torch.Tensor, on: torch.Tensor, rate: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        brightness = image.float().mean((1, 2)) / 255
        scores = self.linear(self.table(ids.clamp(0, 99)).mean(1)) * on[:, None] + brightness[:, None] / rate
        return {"scores": scores, "best": scores.argmax(1), "negative": 255 - image}


class Mixed(nn.Module):
    """Features of a fixed shape, any number of ids, and a rate that a batch shares. An id that is not in the table
    fails."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Embedding(100, 16), nn.Linear(22, 4)

    def forward(self, features: torch.Tensor, ids: torch.Tensor, rate: torch.Tensor) -> dict[str, torch.Tensor]:
        joined = torch.cat([features.flatten(1), self.table(ids).mean(1)], 1)
        scores = self.linear(joined) + rate / 1000
        return {"scores": scores, "best": scores.argmax(1)}


def pooled() -> nn.Module:
    torch.manual_seed(0)
    return Pooled()


def typed() -> nn.Module:
    torch.manual_seed(0)
    return Typed()


def mixed() -> nn.Module:
    torch.manual_seed(0)
    return Mixed()


def sequences() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, 4)).astype(np.float32) for length in (5, 9, 7, 5, 5, 12, 3, 8)]


def typed_items() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (height, 6)).astype(np.uint8),
            "ids": rng.integers(0, 100, 4),
            "on": np.array(bool(height % 2)),
            "rate": np.float32(rate),
        }
        for height, rate in zip((5, 9, 7, 5, 5, 12, 3, 8), (1, 2) * 4, strict=True)
    ]


def mixed_items() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "features": rng.normal(size=(2, 3)).astype(np.float32),
            "ids": rng.integers(0, 100, length),
            "rate": np.float32(rate),
        }
        for length, rate in zip((5, 9, 7, 5, 5, 12, 3, 8), (1, 2) * 4, strict=True)
    ]


RECIPES: dict[str, dict[str, Any]] = {
    "pooled": {
        "model": {"factory": "tests.typed_tensor:pooled"},
        "evaluation": {"factory": "tests.typed_tensor:sequences"},
    },
    "mixed": {
        "model": {"factory": "tests.typed_tensor:mixed"},
        "evaluation": {"factory": "tests.typed_tensor:mixed_items"},
        "task_options": {"batch_axis": {"rate": None}},
    },
    "typed": {
        "model": {"factory": "tests.typed_tensor:typed"},
        "evaluation": {"factory": "tests.typed_tensor:typed_items"},
        "task_options": {"batch_axis": {"rate": None}, "free": {"image": [0, 1]}},
    },
}


def recipe(name: str, quantizer: str = "onnx-dynamic") -> dict[str, Any]:
    """A recipe that takes seconds."""
    return {
        "schema_version": 1,
        "name": name,
        "task": "tensor",
        "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
        "variants": [{"name": "int8", "quantizer": quantizer}],
        **RECIPES[name],
    }
