"""Inputs that are hard on a model: strange texts, and changed images and arrays. The same in every run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantbento.tasks.base import Arrays

# By kind. Written here, so that a report on them tells nothing of a user's samples.
TEXTS: dict[str, list[str]] = {
    "empty": [""],
    "one character": ["a", "7", "?"],
    "very long": ["The committee met again and wrote down what had been said. " * 400],
    "symbols": ["!!! ??? ... --- *** ///", "$%&/()=?{[]}\\~#", "<html><body>&nbsp;</body></html>"],
    "emoji": [
        "\U0001f600\U0001f680\U0001f40d",
        "fine \U0001f44d\U0001f3fd",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    ],
    "right to left": [
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643",
        "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
        "\u202eabc\u202c def",
    ],
    "control characters": ["a\x00b", "line\r\nline\tend\x07", "soft\u00adhyphen \ufeffmark"],
    "mixed languages": [
        "Guten Morgen, \u4f60\u597d, buenos d\u00edas",
        "\u041f\u0440\u0438\u0432\u0435\u0442 and \u3053\u3093\u306b\u3061\u306f",
        "\u0928\u092e\u0938\u094d\u0924\u0947 in Stra\u00dfburg",
    ],
}
NOISE = 25.0  # standard deviation, of 255
BLUR = np.array([1, 4, 6, 4, 1]) / 16  # a Gaussian of one pixel


def images(pixels: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Images with noise, blurred, black and white.

    Args:
        pixels: uint8 of shape (height, width, 3).
    """
    chance = np.random.default_rng(0)
    return {
        "noise": [_pixels(image + chance.normal(0, NOISE, image.shape)) for image in pixels],
        "blur": [_pixels(_blurred(_blurred(image, 0), 1)) for image in pixels],
        "black": [np.zeros_like(image) for image in pixels[:1]],
        "white": [np.full_like(image, 255) for image in pixels[:1]],
    }


def arrays(items: Sequence[Arrays]) -> dict[str, list[Arrays]]:
    """Items of zeros, with noise of a tenth of each array's standard deviation, and ten times as large. Integers and
    booleans stay as they are: not every number is one that a model knows."""
    chance = np.random.default_rng(0)
    changes = {
        "zeros": lambda x: x * 0,
        "noise": lambda x: x + chance.normal(0, 0.1 * float(x.std()), x.shape).astype(x.dtype),
        "ten times as large": lambda x: x * 10,
    }
    if not any(x.dtype.kind == "f" for item in items for x in item.values()):
        return {}
    return {
        kind: [{name: change(x) if x.dtype.kind == "f" else x for name, x in item.items()} for item in items]
        for kind, change in changes.items()
    }


def _blurred(image: np.ndarray, axis: int) -> np.ndarray:
    """Along one axis; at the border, the border's pixels are repeated."""
    widths = [(2, 2) if a == axis else (0, 0) for a in range(image.ndim)]
    padded = np.pad(image.astype(np.float64), widths, mode="edge")
    count = image.shape[axis]
    return sum(weight * padded.take(range(i, i + count), axis) for i, weight in enumerate(BLUR))  # type: ignore[return-value]


def _pixels(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
