"""How far one version's answer is from another's: 0 where they are equal, 1 where a label is another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def distance(answer: Any, other: Any) -> float:
    """Of two answers to the same item.

    Numbers and arrays: the norm of their difference, relative to that of `answer`. Texts and truth values: 0 or 1.
    Mappings and lists: the largest of their parts'; where they have other parts, 1.
    """
    if isinstance(answer, str | bool | np.bool_) or isinstance(other, str | bool | np.bool_):
        return float(answer != other)
    if isinstance(answer, Mapping) and isinstance(other, Mapping):
        if answer.keys() != other.keys():
            return 1.0
        return max((distance(answer[key], other[key]) for key in answer), default=0.0)
    one, two = _numbers(answer), _numbers(other)
    if one is not None and two is not None:
        return _relative(one, two) if one.shape == two.shape else 1.0
    if isinstance(answer, Sequence) and isinstance(other, Sequence) and len(answer) == len(other):
        return max((distance(a, b) for a, b in zip(answer, other, strict=True)), default=0.0)
    return float(answer is not other)


def _numbers(answer: Any) -> np.ndarray | None:
    if isinstance(answer, Mapping | str) or (isinstance(answer, Sequence) and not all(map(_is_number, answer))):
        return None
    values = np.asarray(answer)
    return values.astype(np.float64) if values.dtype.kind in "iuf" else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _relative(one: np.ndarray, two: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # of infinities
        difference = float(np.linalg.norm(one - two))
    if not np.isfinite(difference):
        return float(not np.array_equal(one, two, equal_nan=True))
    return difference / max(float(np.linalg.norm(one)), 1e-12) if difference else 0.0
