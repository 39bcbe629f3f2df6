"""Inputs for a model of arrays, made up from what it says about itself, and proven by running it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.base import Task
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.tensor import graph
from quantbento.tasks.tensor.module import forward_names

COUNT = 16
IMAGE_SIZES = (224, 128, 96, 64, 48, 32, 28, 16, 8)  # the usual ones, tried in this order
LENGTHS = (16, 64, 256, 512, 1024, 16_000)  # of other axes that may have any size

MOST_NUMBERS = 2_000_000  # in one item

Shapes = dict[str, tuple[str, tuple[int, ...]]]  # by input name: its type, and the shape of one item


def made_up(source: SourceModel, task: type[Task], options: Any, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Items that the model takes, others for another seed.

    Raises:
        QuantbentoError: it takes none of those that were tried.
    """
    refused: QuantbentoError | None = None
    for shapes in _of_graph(source) if source.onnx else _of_module(source.module):
        if sum(prod(shape) for _, shape in shapes.values()) > MOST_NUMBERS:
            continue
        try:
            task.create(source, options, SampleSet(_items(shapes, seed, 2)))
        except QuantbentoError as error:
            refused = refused or error  # the first guess is the most likely one
            continue
        return _items(shapes, seed, COUNT)
    raise QuantbentoError(
        f"what the model takes cannot be told from the model alone ({refused or 'it has several inputs'}); name "
        "samples with --evaluation: an .npz file with an array for each input, or module:function"
    )


def _of_graph(source: SourceModel) -> Iterator[Shapes]:
    """What an ONNX file declares, without the axis of the batch; axes of any size get a usual one."""
    assert source.onnx is not None
    inputs = graph.read(source.onnx).inputs
    tried: list[Shapes] = []
    for image, length in [*((size, LENGTHS[0]) for size in IMAGE_SIZES), *((IMAGE_SIZES[0], n) for n in LENGTHS)]:
        for without in (_without_batch, lambda dims: dims):
            shapes = {
                name: (dtype, _sizes(without(dims or ()), image if len(dims or ()) == 4 else length))
                for name, (dtype, dims) in inputs.items()
            }
            if shapes not in tried:
                tried.append(shapes)
                yield shapes


def _without_batch(dims: Sequence[int | str]) -> Sequence[int | str]:
    """Without the axis that is called a batch; else the first one, unless it has a size and another may have any."""
    named = [axis for axis, dim in enumerate(dims) if "batch" in str(dim).lower()]
    free = [axis for axis, dim in enumerate(dims) if isinstance(dim, str)]
    batch = named[0] if named else free[0] if free and dims[0] not in (1, dims[free[0]]) else 0
    return [dim for axis, dim in enumerate(dims) if axis != batch]


def _sizes(dims: Any, size: int) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else size for dim in dims)


def _of_module(module: Any) -> Iterator[Shapes]:
    """What the first weights of a module with one input suggest: features, or an image, a sequence or a volume with as
    many channels."""
    names = _required(module)
    if len(names) != 1:
        return
    weights = [p for p in module.parameters() if p.ndim >= 2]
    if not weights:
        return
    channels, axes = weights[0].shape[1], weights[0].ndim - 2
    of_features, of_images = [(channels,), (LENGTHS[0], channels)], [(channels, *[size] * axes) for size in IMAGE_SIZES]
    if _reads_sequences(module):  # such layers take a whole batch of features for one sequence
        of_features.reverse()
    yield from ({names[0]: ("float32", shape)} for shape in (of_images if axes else of_features))
    yield {names[0]: ("int64", (LENGTHS[0],))}


def _reads_sequences(module: Any) -> bool:
    from torch import nn

    return any(isinstance(layer, nn.RNNBase | nn.MultiheadAttention) for layer in module.modules())


def _required(module: Any) -> list[str]:
    """The names of the inputs that must be given."""
    if getattr(module.forward, "schema", None) is not None:  # of TorchScript
        return [a.name for a in module.forward.schema.arguments[1:] if not a.has_default_value()]
    given = inspect.signature(module.forward).parameters
    return [n for n in forward_names(module) if n not in given or given[n].default is inspect.Parameter.empty]


def _items(shapes: Shapes, seed: int, count: int) -> list[dict[str, np.ndarray]]:
    """Normal numbers; 0 and 1 for whole numbers, which any table of embeddings has."""
    chance = np.random.default_rng(seed)
    return [
        {
            name: np.asarray(
                chance.normal(size=shape) if np.dtype(dtype).kind == "f" else chance.integers(0, 2, shape),
                np.dtype(dtype),
            )
            for name, (dtype, shape) in shapes.items()
        }
        for _ in range(count)
    ]
