"""What a recipe may say about a model's inputs and outputs, for what cannot be seen from the model and its samples."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field, NonNegativeInt

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.tasks.base import TaskOptions
from quantbento.tasks.tensor.values import Dtype


class TensorOptions(TaskOptions):
    labels: list[str] | None = Field(None, description="names of the classes")
    dtypes: dict[str, Dtype] = Field({}, description="by input of a PyTorch model, its type")
    batch_axis: dict[str, NonNegativeInt | None] = Field(
        {}, description="by input, the axis of the batch; null where the items of a batch share one value"
    )
    output_batch_axis: dict[str, NonNegativeInt | None] = Field(
        {}, description="by output, the axis of the batch; null where it has none, so that the model runs item by item"
    )
    free: dict[str, list[int]] = Field({}, description="by input, the axes of an item that may have any size")


def check_names(options: TensorOptions, inputs: Collection[str], outputs: Collection[str]) -> None:
    """
    Raises:
        QuantbentoError: options name inputs or outputs that the model does not have.
    """
    known = {"dtypes": inputs, "batch_axis": inputs, "free": inputs, "output_batch_axis": outputs}
    problems = [
        f"task_options.{option} names {name!r}{did_you_mean(name, names)} (the model has {one_of(names)})"
        for option, names in known.items()
        for name in getattr(options, option)
        if name not in names
    ]
    if problems:
        raise QuantbentoError("; ".join(problems))
