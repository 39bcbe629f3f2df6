"""LiteRT (formerly TensorFlow Lite) on CPU.

A file takes a batch of one size, usually of one item, so a larger batch runs item by item. Where a file takes and gives
8-bit integers, floats are turned into them and back here, by the scales and zero points in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantbento.core.errors import InvalidInput, QuantbentoError, summary
from quantbento.runtimes.base import ArrayRuntime

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

MODEL = "model.tflite"


class LiteRtRuntime(ArrayRuntime):
    """`config["outputs"]` has, in the file's order, the name of each output and the axis of its batch."""

    name = "litert"
    modules = ("ai_edge_litert",)
    distributions = ("ai-edge-litert",)
    extra = "litert"

    def __init__(self, interpreter: Interpreter, batch_axes: Mapping[str, int | None]) -> None:
        self._interpreter, self._axes = interpreter, dict(batch_axes)
        signature = interpreter.get_signature_runner()
        given = signature.get_output_details()
        self._inputs: dict[str, dict[str, Any]] = signature.get_input_details()
        self._outputs = {name: given[f"output_{i}"] for i, name in enumerate(batch_axes)}
        self._shapes = {name: tuple(map(int, tensor["shape"])) for name, tensor in self._inputs.items()}
        self._one_at_a_time = Lock()  # an interpreter has one set of tensors

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        from importlib.metadata import version

        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(str(folder / MODEL), num_threads=threads)
            interpreter.allocate_tensors()
        except Exception as error:  # of several kinds
            raise QuantbentoError(
                f"LiteRT {version('ai-edge-litert')} cannot load {MODEL}: {summary(error)}"
            ) from error
        return cls(interpreter, config["outputs"])

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        used = {name: batch[name] for name in self._inputs}  # a file has no input that its model does not use
        with self._one_at_a_time:
            made = [self._one(item) for item in items(used, self._shapes)]
        if len(made) == 1:
            return made[0]
        return {name: np.concatenate([m[name] for m in made], self._axes[name] or 0) for name in self._outputs}

    def _one(self, item: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, value in item.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], _stored(name, value, self._inputs[name]))
        self._interpreter.invoke()
        return {n: _read(self._interpreter.get_tensor(t["index"]), t) for n, t in self._outputs.items()}


def items(batch: dict[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, np.ndarray]]:
    """A batch in parts of the shapes that a file takes. An input that has its shape already goes with each part.

    Raises:
        QuantbentoError: an input differs in more than the number of items.
    """
    axes = {name: _batch_axis(name, value.shape, shapes[name]) for name, value in batch.items()}
    counts = {batch[name].shape[axis] for name, axis in axes.items() if axis is not None}
    if not counts:
        yield batch
        return
    for i in range(min(counts)):
        yield {n: v if (axis := axes[n]) is None else v.take([i], axis) for n, v in batch.items()}


def _batch_axis(name: str, given: tuple[int, ...], wanted: tuple[int, ...]) -> int | None:
    """The axis of which a file takes one entry; None where it takes the whole."""
    if given == wanted:
        return None
    axes = [axis for axis, sizes in enumerate(zip(given, wanted, strict=False)) if sizes[0] != sizes[1]]
    if len(given) != len(wanted) or len(axes) != 1 or wanted[axes[0]] != 1:
        raise QuantbentoError(f"the LiteRT file takes {name!r} in the shape {wanted}, not {given}")
    return axes[0]


def _stored(name: str, value: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """A value in the type of a file's input."""
    kind = np.dtype(tensor["dtype"])
    scales, zeros = (tensor["quantization_parameters"][key] for key in ("scales", "zero_points"))
    if value.dtype.kind == "f" and kind.kind in "iu" and len(scales):
        value = np.round(value / scales[0]) + zeros[0]
        return value.clip(np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    stored = value.astype(kind)
    if value.dtype.kind in "iu" and not np.array_equal(stored, value):  # int64 becomes int32
        raise InvalidInput(f"{name!r} is {kind} in the LiteRT file, which does not hold {np.abs(value).max()}")
    return stored


def _read(value: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """A file's output, in floats where it is quantized."""
    scales, zeros = (tensor["quantization_parameters"][key] for key in ("scales", "zero_points"))
    if not len(scales):
        return value
    return (value.astype(np.float32) - np.float32(zeros[0])) * np.float32(scales[0])
