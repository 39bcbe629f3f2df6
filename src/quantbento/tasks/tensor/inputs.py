"""One input of a model: its type, the shape of one item, and where the batch stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbento.core.errors import InvalidInput
from quantbento.tasks.tensor.values import converted, numbers


@dataclass(frozen=True)
class Input:
    """
    Attributes:
        name: the model's.
        dtype: NumPy's name of its type.
        shape: of one item, without the batch; None for an axis of any size.
        sizes: a shape that the model is known to take.
        batch_axis: where items are stacked. None: the items of a batch share one value.
        value: of an input that is shared and a lone number, such as a sample rate: one that the model is known to
            take.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    sizes: tuple[int, ...]
    batch_axis: int | None = 0
    value: Any = None

    @property
    def free(self) -> tuple[int, ...]:
        """The axes of an item that may have any size."""
        return tuple(axis for axis, size in enumerate(self.shape) if size is None)

    @property
    def dynamic_axes(self) -> tuple[int, ...]:
        """Axes of the model's input that differ between batches: the batch, and those that are free."""
        if self.batch_axis is None:
            return self.free
        return (self.batch_axis, *(axis + (axis >= self.batch_axis) for axis in self.free))

    def __str__(self) -> str:
        """`(3, any, any)`"""
        sizes = ["any" if size is None else str(size) for size in self.shape]
        return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"

    def check(self, value: Any) -> np.ndarray:
        """One item's value as an array of the input's type.

        Raises:
            InvalidInput: its shape or one of its numbers is not what the model takes.
        """
        array = numbers(value, f"{self.name} must be numbers of shape {self}")
        if not self._has_shape(array.shape):
            raise InvalidInput(f"{self.name} must have shape {self}, not {array.shape}")
        return converted(array, np.dtype(self.dtype), self.name)

    def _has_shape(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            size == wanted or (wanted is None and size > 0) for size, wanted in zip(shape, self.shape, strict=True)
        )

    def example(self) -> np.ndarray:
        """A value that the model takes. Zeros; ones where they may count or look something up, or switch it on."""
        if self.value is not None:
            return np.full(self.sizes, self.value, self.dtype)
        return (np.zeros if np.dtype(self.dtype).kind == "f" else np.ones)(self.sizes, self.dtype)

    def batch(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Items of one shape as the model takes them; the value they share, where they share it."""
        return items[0] if self.batch_axis is None else np.stack(items, axis=self.batch_axis)

    def schema(self) -> dict[str, Any]:
        """JSON schema of one item's value. An axis of any size has no limits but that it is not empty."""
        kind = np.dtype(self.dtype)
        schema: dict[str, Any] = {"type": "boolean" if kind.kind == "b" else "number"}
        if kind.kind in "iu":
            schema = {"type": "integer", "minimum": np.iinfo(kind).min, "maximum": np.iinfo(kind).max}
        for size in reversed(self.shape):
            limits = {"minItems": 1} if size is None else {"minItems": size, "maxItems": size}
            schema = {"type": "array", "items": schema, **limits}
        return schema | {"description": f"{self.dtype}, shape {self}"}
