"""The two moons: a 2-64-32-2 network, trained in seconds, right on every one of 400 held-out points."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import nn

TRAINING, HELD_OUT = 2000, 400


class TwoMoons(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Class scores (batch, 2) of points (batch, 2)."""
        return self.layers(points)


def model() -> TwoMoons:
    """The trained network; the same one every time."""
    points, labels = _points()
    x, y = torch.from_numpy(points[:TRAINING]), torch.from_numpy(labels[:TRAINING])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TwoMoons()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    return network.eval()


def held_out() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """400 points the network has not seen, and which moon each lies on."""
    points, labels = _points()
    return {"points": points[TRAINING:]}, labels[TRAINING:]


def calibration() -> dict[str, np.ndarray]:
    """200 of the points it was trained on."""
    return {"points": _points()[0][:200]}


def _points() -> tuple[np.ndarray, np.ndarray]:
    points, labels = make_moons(TRAINING + HELD_OUT, noise=0.1, random_state=0)
    return points.astype(np.float32), labels.astype(np.int64)
