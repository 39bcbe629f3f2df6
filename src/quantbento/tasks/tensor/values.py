"""What a client sends, as an array of the type that a model's input has. Nothing is rounded, cut or wrapped around."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

from quantbento.core.errors import InvalidInput

Dtype = Literal[
    "float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"
]
DTYPES: tuple[str, ...] = get_args(Dtype)


def numbers(value: Any, what: str) -> np.ndarray:
    """Nested lists or an array as an array of numbers or booleans, in the type they came in. Integers that 64 bits do
    not hold are Python's.

    Args:
        value: what was given.
        what: the message for what is no array of numbers, `x must be numbers of shape (3,)`.

    Raises:
        InvalidInput: it is ragged, or holds text, null or anything else that is no number.
    """
    try:
        # NumPy would give every number the room that the longest text needs: terabytes for one request.
        if isinstance(value, list) and _holds_text(value):
            raise InvalidInput(f"{what}: it holds text")
        array = np.asarray(value)
    except InvalidInput:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidInput(f"{what}, and is not") from None
    if array.dtype.kind == "O":  # what NumPy makes of integers that 64 bits do not hold, and of null
        members = array.ravel().tolist()
        if any(member is None for member in members):
            raise InvalidInput(f"{what}: it holds null")
        if not all(isinstance(member, int | float) for member in members):
            raise InvalidInput(f"{what}, and is not")
    elif array.dtype.kind not in "biuf":
        raise InvalidInput(f"{what}, and is not")
    return array


def converted(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """The same numbers in another type, in C order and aligned; without a copy where nothing has to change.

    Raises:
        InvalidInput: one of them does not exist in that type.
    """
    if array.dtype.kind == "O":
        if dtype.kind in "iu":
            _refuse(name, f"be {range_of(dtype)} ({dtype})", array, _outside(array, dtype))
        array = np.asarray([_as_float(member) for member in array.ravel()]).reshape(array.shape)
    if array.dtype == dtype:
        result = np.require(array, requirements=["C", "A"])
    elif dtype.kind == "b":
        _refuse(name, "be true or false", array, (array != 0) & (array != 1))
        result = array.astype(dtype, order="C")
    elif dtype.kind in "iu":
        if array.dtype.kind == "f":
            whole = np.isfinite(array) & (array == np.trunc(array))
            _refuse(name, f"be whole numbers ({dtype})", array, ~whole)
        _refuse(name, f"be {range_of(dtype)} ({dtype})", array, _outside(array, dtype))
        result = array.astype(dtype, order="C")
    else:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
            result = array.astype(dtype, order="C")
    if dtype.kind == "f" and not np.isfinite(result).all():
        raise InvalidInput(f"{name} must be finite in {dtype}: it holds NaN or infinity")
    return result


def range_of(dtype: np.dtype) -> str:
    """`from 0 to 255`"""
    return f"from {np.iinfo(dtype).min} to {np.iinfo(dtype).max}"


def _holds_text(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    return str in kinds or (list in kinds and any(_holds_text(v) for v in values if type(v) is list))


def _outside(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Where an integer type cannot hold the value. NumPy compares numbers of one type only, Python exactly."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if array.dtype.kind != "O" and array.size and low <= int(array.min()) and int(array.max()) <= high:
        return np.zeros(array.shape, dtype=bool)
    return np.asarray([not low <= v <= high for v in array.ravel().tolist()], dtype=bool).reshape(array.shape)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _refuse(name: str, what: str, array: np.ndarray, wrong: np.ndarray) -> None:
    if wrong.any():
        raise InvalidInput(f"{name} must {what}: it holds {_shown(array[wrong][0])}")


def _shown(number: Any) -> str:
    if isinstance(number, int) and number.bit_length() > 128:
        return f"an integer of {number.bit_length()} bits"
    return str(number)
