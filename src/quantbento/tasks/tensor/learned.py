"""What samples teach about a model's inputs, together with what the model itself and the recipe say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import InvalidInput, QuantbentoError, did_you_mean, one_of
from quantbento.tasks.tensor.inputs import Input
from quantbento.tasks.tensor.options import TensorOptions
from quantbento.tasks.tensor.values import numbers

Dims = Sequence[int | str]  # an input's axes as a graph declares them, the batch among them: a size, or a symbol


def arrays_of(samples: Sequence[Any], names: Sequence[str], every: bool) -> dict[str, list[np.ndarray]]:
    """The samples' values by input name, in the order of the names.

    Args:
        samples: mappings by input name, or lone values for the first input.
        names: the model's inputs.
        every: whether samples must give all of them.

    Raises:
        QuantbentoError: they name other inputs, lack some, or hold something that is no array of numbers.
    """
    items = [item if isinstance(item, dict) else {names[0]: item} for item in samples]
    given = items[0]
    if unknown := [str(name) for name in given if name not in names]:
        raise QuantbentoError(
            f"the samples name inputs the model does not have: {one_of(unknown)}"
            f"{did_you_mean(unknown[0], names)} (it has {one_of(names)})"
        )
    if missing := [name for name in names if every and name not in given]:
        raise QuantbentoError(f"the samples lack inputs of the model: {one_of(missing)} (it has {one_of(names)})")
    try:
        return {
            name: [numbers(item[name], f"{name} must be an array of numbers") for item in items if name in item]
            for name in names
            if name in given
        }
    except InvalidInput as error:
        raise QuantbentoError(f"the samples cannot be used: {error}") from None


def learned(name: str, dtype: str, dims: Dims | None, samples: Sequence[np.ndarray], options: TensorOptions) -> Input:
    """One input of a model.

    Args:
        name, dtype: the model's, and NumPy's.
        dims: what a graph declares; None for a PyTorch model, which declares nothing.
        samples: some items' values.
        options: the recipe's.

    Raises:
        QuantbentoError: they contradict each other.
    """
    shapes = [sample.shape for sample in samples]
    if name in options.batch_axis:
        axis = options.batch_axis[name]
    else:
        axis = 0 if dims is None else _batch_axis(name, dims, shapes)
    if dims is None:
        shape = _shape_of_samples(name, shapes)
    else:
        if axis is not None and axis >= len(dims):
            raise QuantbentoError(
                f"task_options.batch_axis: {name!r} has {len(dims)} axes in the graph, no axis {axis}"
            )
        shape = [None if isinstance(size, str) else size for size in _without(dims, axis)]
        if not all(_fits(shape, given) for given in shapes):
            raise _does_not_fit(name, dims, shapes)
    if name in options.free:
        shape = _freed(name, shape, shapes[0], options.free[name], graph=dims is not None)
    alone = axis is None and samples[0].size == 1
    return Input(name, dtype, tuple(shape), shapes[0], axis, samples[0].item() if alone else None)


def _batch_axis(name: str, dims: Dims, shapes: Sequence[tuple[int, ...]]) -> int | None:
    """The axis without which the graph's shape is that of the samples. Of several, one that the graph calls a batch,
    then one of any size, then the first. None where the samples have all of the graph's axes, and each has a fixed
    size: the model then knows no batch."""
    symbols = [isinstance(size, str) for size in dims]
    # Beside an axis of any size, one of a fixed size is no batch; but for 1, where the first axis is not free.
    able = [a for a in range(len(dims)) if symbols[a] or not any(symbols) or (dims[a] == 1 and not symbols[0])]
    able = [a for a in able if all(_fits(_without(dims, a), given) for given in shapes)]
    if able:
        return max(able, key=lambda a: ("batch" in str(dims[a]).lower(), symbols[a], -a))
    if all(tuple(dims) == given for given in shapes):
        return None
    raise _does_not_fit(name, dims, shapes)


def _does_not_fit(name: str, dims: Dims, shapes: Sequence[tuple[int, ...]]) -> QuantbentoError:
    declared = ", ".join(str(size) or "any" for size in dims)
    return QuantbentoError(
        f"the graph's input {name!r} has the shape [{declared}], and the samples' have {shapes[0]}: a sample is one "
        f"item, without the batch. If the batch is another axis, or there is none, say so: "
        f"task_options: {{batch_axis: {{{name}: 1}}}}, or null"
    )


def _without(dims: Dims, axis: int | None) -> list[int | str]:
    return [size for index, size in enumerate(dims) if index != axis]


def _fits(dims: Sequence[int | str | None], shape: tuple[int, ...]) -> bool:
    return len(dims) == len(shape) and all(
        not isinstance(wanted, int) or wanted == size for wanted, size in zip(dims, shape, strict=True)
    )


def _shape_of_samples(name: str, shapes: Sequence[tuple[int, ...]]) -> list[int | None]:
    """Axes in which samples differ may have any size."""
    if len({len(shape) for shape in shapes}) > 1:
        raise QuantbentoError(f"the samples of {name!r} have different numbers of axes: {one_of(map(str, shapes))}")
    return [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True)]


def _freed(
    name: str, shape: list[int | None], sizes: tuple[int, ...], axes: Sequence[int], graph: bool
) -> list[int | None]:
    """The shape with exactly these axes free; they count from the end where they are negative."""
    if wrong := [axis for axis in axes if not -len(shape) <= axis < len(shape)]:
        raise QuantbentoError(f"task_options.free: an item of {name!r} has {len(shape)} axes, no axis {wrong[0]}")
    wanted = {axis % len(shape) for axis in axes}
    if graph and (fixed := sorted(axis for axis in wanted if shape[axis] is not None)):
        raise QuantbentoError(
            f"task_options.free: axis {fixed[0]} of an item of {name!r} has the size {shape[fixed[0]]} in the graph"
        )
    return [None if axis in wanted else size for axis, size in enumerate(sizes)]
