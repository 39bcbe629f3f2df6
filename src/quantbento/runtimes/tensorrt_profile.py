"""The sizes that a TensorRT engine is built for: the least, the usual and the largest of every axis.

An engine takes no others. The batch goes up to the task's, a text up to its limit, and any other axis of any size over
the sizes of the calibration samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantbento.core.errors import InvalidInput
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays
from quantbento.tasks.tensor import TensorTask
from quantbento.tasks.text import TextTask

Profile = dict[str, list[list[int]]]  # by input: its least, its usual and its largest shape


def profile(path: Path, task: ArrayTask, batches: Sequence[Arrays]) -> Profile:
    """The sizes for the inputs of an ONNX file, as JSON.

    Args:
        batches: calibration samples by input name; may be empty.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {initializer.name for initializer in graph.initializer}
    shapes = {
        value.name: [axis.dim_value or None for axis in value.type.tensor_type.shape.dim]
        for value in graph.input
        if value.name not in weights
    }
    known = [*batches, *(task.collate([task.encode(item)]) for item in task.examples())]
    return {name: _sizes(name, shape, task, known) for name, shape in shapes.items()}


def check(wanted: Mapping[str, Sequence[Sequence[int]]], name: str, shape: Sequence[int]) -> None:
    """
    Raises:
        InvalidInput: an engine with this profile does not take the shape.
    """
    least, _, largest = wanted[name]
    if len(shape) != len(least) or not all(a <= b <= c for a, b, c in zip(least, shape, largest, strict=True)):
        raise InvalidInput(
            f"{name!r} has the shape {tuple(shape)}, and the TensorRT engine takes {tuple(least)} to {tuple(largest)}: "
            "the sizes of the calibration samples, and the task's limits"
        )


def _sizes(name: str, shape: Sequence[int | None], task: ArrayTask, known: Sequence[Arrays]) -> list[list[int]]:
    seen = [batch[name].shape for batch in known]
    ranges = [
        (size,) * 3 if size is not None else _range(axis, [given[axis] for given in seen], name, task)
        for axis, size in enumerate(shape)
    ]
    return [list(sizes) for sizes in zip(*ranges, strict=True)] or [[], [], []]


def _range(axis: int, seen: Sequence[int], name: str, task: ArrayTask) -> tuple[int, int, int]:
    """The least, the usual and the largest size of an axis that may have any."""
    if axis == _batch_axes(task).get(name):
        return 1, task.chunk_items, task.chunk_items
    if isinstance(task, TextTask):
        limit = task.text.max_length
        return 1, min(max(seen), limit), limit
    return min(seen), max(seen), max(seen)  # not from 1: a convolution may take no less


def _batch_axes(task: Any) -> dict[str, int | None]:
    if isinstance(task, TensorTask):
        return {given.name: given.batch_axis for given in task.inputs}
    return dict.fromkeys(task.input_names, 0)
