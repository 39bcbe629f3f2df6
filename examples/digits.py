"""Handwritten digits: a small convolutional classifier of scikit-learn's 1,797 real 8x8 images."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from quantbento.tasks.source import SampleSet

HELD_OUT = 400


class DigitClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4 * 4, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class scores (batch, 10) of images (batch, 1, 8, 8) with values from 0 to 1."""
        return self.head(self.features(image))


def preprocess(image: object) -> np.ndarray:
    """One 8x8 image with values from 0 to 16, as scikit-learn gives it, as the network takes it."""
    return (np.asarray(image, dtype=np.float32) / 16).reshape(1, 8, 8)


def model() -> DigitClassifier:
    """The trained classifier; the same one every time."""
    images, labels = digits()
    x = torch.from_numpy(np.stack([preprocess(image) for image in images[HELD_OUT:]]))
    y = torch.from_numpy(labels[HELD_OUT:])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DigitClassifier()
        _fit(network, x, y, epochs=12, learning_rate=0.002)
    return network.eval()


def held_out() -> tuple[list[np.ndarray], np.ndarray]:
    """400 images the classifier has not seen, values from 0 to 16, and their digits."""
    images, labels = digits()
    return list(images[:HELD_OUT]), labels[:HELD_OUT]


def train(network: nn.Module, samples: SampleSet, epochs: int) -> None:
    """Trains it further, in place; for quantization-aware training."""
    x = torch.from_numpy(np.stack([inputs["image"] for inputs in samples.inputs]))
    y = torch.as_tensor(np.asarray(samples.labels))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _fit(network, x, y, epochs, learning_rate=0.0005)


def training() -> tuple[list[np.ndarray], np.ndarray]:
    """The other 1,397 images, which the classifier is trained on."""
    images, labels = digits()
    return list(images[HELD_OUT:]), labels[HELD_OUT:]


def calibration() -> list[np.ndarray]:
    """256 of them."""
    return training()[0][:256]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All images (1797, 8, 8) and their digits, shuffled the same way every time; the first `HELD_OUT` are held out."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return data.images[order].astype(np.float32), data.target[order].astype(np.int64)


def _fit(network: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, learning_rate: float) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
