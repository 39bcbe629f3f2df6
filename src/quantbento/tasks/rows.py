"""Rows: what a model gives for each item. The rows of a set of items are one array, batch first; where items give
arrays of different shapes (a label for each token, an image's mask), a one-dimensional object array that holds one
array for each item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """One array for rows of one shape, (items, ...); an object array (items,) of arrays for others."""
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    ragged = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        ragged[index] = row
    return ragged


def joined(chunks: Iterable[np.ndarray], order: Sequence[int]) -> np.ndarray:
    """The rows of several chunks together, row k of the chunks at place `order[k]`."""
    parts = list(chunks)
    back = np.argsort(np.asarray(order))
    if len({part.shape[1:] for part in parts}) == 1 and all(part.dtype != object for part in parts):
        return np.concatenate(parts)[back]
    rows = [row for part in parts for row in part]
    return stacked([rows[i] for i in back])


def flat(values: np.ndarray) -> np.ndarray:
    """All numbers of all rows, float64, in a line."""
    if values.dtype == object:
        return np.concatenate([np.ravel(row) for row in values]).astype(np.float64)
    return values.ravel().astype(np.float64)


def holds_floats(values: np.ndarray) -> bool:
    """Whether the rows hold floats; if not, they hold integers or booleans."""
    return (values[0] if values.dtype == object else values).dtype.kind == "f"


def shapes(values: np.ndarray) -> list[tuple[int, ...]]:
    """The shape of each row."""
    return [np.shape(row) for row in values]


def finite(values: np.ndarray) -> np.ndarray:
    """For each row, whether it holds neither NaN nor infinity; (items,), bool."""
    if values.dtype == object:
        return np.asarray([bool(np.isfinite(row).all()) for row in values])
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))


def row_distances(baseline: Mapping[str, np.ndarray], variant: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far the rows of each item are apart, from 0 to 2, float64 of shape (items,): the Euclidean length of the
    difference over that of the longer of the two, of all floats together; where there are none, the share of integers
    and booleans that differ.

    Args:
        baseline, variant: rows by name, of the same names and shapes.
    """
    floats = [name for name in baseline if holds_floats(baseline[name])]
    count = len(next(iter(baseline.values())))
    found = np.zeros(count)
    for item in range(count):
        b, v = (_line([rows[name][item] for name in floats or baseline]) for rows in (baseline, variant))
        if floats:
            longer = max(np.linalg.norm(b), np.linalg.norm(v))
            found[item] = np.linalg.norm(b - v) / longer if longer else 0.0
        else:
            found[item] = (b != v).mean() if len(b) else 0.0
    return found


def _line(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)
