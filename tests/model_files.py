"""A small PyTorch model as each of the files that it can come in."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


class Small(nn.Module):
    """Two inputs, two outputs, one of them of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 64), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor, shift: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.last(self.first(x).relu()) + shift
        return {"scores": scores, "best": scores.argmax(1)}


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


def torchscript(folder: Path) -> Path:
    path = folder / "small.pt"
    torch.jit.script(small()).save(str(path))
    return path


def exported(folder: Path, batch: int | None = None) -> Path:
    """With any number of items, or a batch of a fixed size."""
    path, count = folder / "small.pt2", batch or 3
    axes = None if batch else ({0: torch.export.Dim("items")},) * 2
    program = torch.export.export(small(), (torch.ones(count, 16), torch.ones(count, 1)), dynamic_shapes=axes)
    torch.export.save(program, path)
    return path


def weights(folder: Path) -> Path:
    from safetensors.torch import save_model

    path = folder / "small.safetensors"
    save_model(small(), str(path))
    return path


def unlike() -> nn.Module:
    """The same module with other weights."""
    torch.manual_seed(1)
    return Small()


def samples() -> list[dict]:
    import numpy as np

    rng = np.random.default_rng(0)
    return [{"x": rng.normal(size=16).astype(np.float32), "shift": [0.5]} for _ in range(12)]
