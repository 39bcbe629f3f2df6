"""Where the batch stands in a model's outputs, found by running it on two and on three items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.tasks.base import Arrays
from quantbento.tasks.tensor.inputs import Input

Shapes = dict[str, tuple[int, ...]]
Run = Callable[[Arrays], Shapes]


@dataclass(frozen=True)
class Layout:
    """
    Attributes:
        outputs: by output name, the axis of the batch; None where there is none.
        batch: how many items the model takes at a time, where that is not any number. It then gets copies of one item.
        notes: what people should know of that.
    """

    outputs: dict[str, int | None]
    batch: int | None = None
    notes: list[str] = field(default_factory=list)


def look(
    run: Run, inputs: Sequence[Input], item: Arrays, fixed: int | None, wanted: Mapping[str, int | None]
) -> Layout:
    """Runs the model on copies of one item and looks which axis of each output grows with their number.

    Args:
        run: gives the outputs' shapes for a batch; may raise anything.
        inputs: what the model takes.
        item: one item's values by input name.
        fixed: the number of items that the graph declares, if it declares one.
        wanted: what the recipe says of outputs.

    Raises:
        QuantbentoError: the model does not run on the item, or an output has no such axis.
    """

    def shapes(count: int) -> Shapes:
        try:
            return run({i.name: i.batch([item[i.name]] * count) for i in inputs})
        except QuantbentoError:
            raise
        except Exception as error:
            given = {i.name: list(item[i.name].shape) for i in inputs}
            raise _DoesNotRun(
                f"the model does not run on inputs shaped as the samples {given}: {summary(error)}"
            ) from error

    if all(i.batch_axis is None for i in inputs):
        return Layout(dict.fromkeys(shapes(1)), 1, ["no input has a batch: items run one by one"])
    if fixed is None:
        try:
            return _growing(shapes(2), shapes(3), wanted)
        except _DoesNotRun:  # some models take one item only, though nothing says so
            fixed = 1
    found = shapes(fixed)
    axes = {name: next((a for a, size in enumerate(shape) if size == fixed), None) for name, shape in found.items()}
    note = f"the model takes {fixed} item{'s' * (fixed > 1)} at a time: items run one by one"
    return Layout(_with(axes, wanted, found, fixed), fixed, [note])


class _DoesNotRun(QuantbentoError):
    pass


def _growing(two: Shapes, three: Shapes, wanted: Mapping[str, int | None]) -> Layout:
    """The layout of a model that takes any number of items, from what it gives for two and for three."""
    axes = {name: _axis(two[name], three[name]) for name in two}
    axes = _with(axes, wanted, two, 2)
    without = [name for name, axis in axes.items() if axis is None]
    if not without:
        return Layout(axes)
    return Layout(axes, 1, [f"the output {one_of(without)} has no axis for the batch: items run one by one"])


def _axis(two: tuple[int, ...], three: tuple[int, ...]) -> int | None:
    """The one axis that counts the items; None where there are several, or others grow too."""
    if len(two) != len(three):
        return None
    grown = [axis for axis, sizes in enumerate(zip(two, three, strict=True)) if sizes[0] != sizes[1]]
    return grown[0] if len(grown) == 1 and (two[grown[0]], three[grown[0]]) == (2, 3) else None


def _with(
    axes: dict[str, int | None], wanted: Mapping[str, int | None], found: Shapes, count: int
) -> dict[str, int | None]:
    """The axes with what the recipe says instead. Raises where that is not the number of items."""
    for name, axis in wanted.items():
        if axis is not None and name in found and found[name][axis : axis + 1] != (count,):
            raise QuantbentoError(
                f"task_options.output_batch_axis: {name!r} has the shape {found[name]} for {count} items; "
                f"axis {axis} is not the batch"
            )
    return axes | {name: axis for name, axis in wanted.items() if name in axes}
