"""A request's items from the bytes of a `.npy` or `.npz` file, and answers as such bytes.

Nothing is unpickled, and no memory is taken for what a header claims: it must be there.
"""

from __future__ import annotations

import io
import math
import reprlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import InvalidInput

MOST_ARRAYS = 256  # in a .npz: more than any model has inputs
MOST_AXES = 64  # NumPy's own limit

_SHOWN = reprlib.Repr()  # names and numbers in a file may be of any length
_SHOWN.maxdict = 64


def items_of(body: bytes, max_items: int, max_bytes: int) -> list[Any]:
    """The items along the first axis: of a `.npy` arrays, of a `.npz` mappings of arrays by name.

    Args:
        body: the file's bytes. The arrays share them.
        max_items: how many items may be in it.
        max_bytes: of all arrays of a `.npz` that is compressed.

    Raises:
        InvalidInput: it is no such file, or holds too much, or something else than numbers.
    """
    if body.startswith(b"PK"):
        arrays = _archive(body, max_bytes)
        count = _count({name: array.shape for name, array in arrays.items()}, max_items)
        return [{name: array[i] for name, array in arrays.items()} for i in range(count)]
    array = _array(body, "the body")
    return list(array[: _count({"the body": array.shape}, max_items)])


def bytes_of(answers: Sequence[Any]) -> bytes:
    """Answers, one per item, as `.npy`: arrays of one shape stacked. As `.npz` where they are mappings by output name.

    Raises:
        ValueError: they have different shapes, or are no numbers.
    """
    file = io.BytesIO()
    if answers and isinstance(answers[0], dict):
        with zipfile.ZipFile(file, "w") as archive:  # np.savez has names of its own, which an output may have too
            for name in answers[0]:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.save(entry, _stacked([answer[name] for answer in answers]), allow_pickle=False)
    else:
        np.save(file, _stacked(answers), allow_pickle=False)
    return file.getvalue()


def _stacked(values: Sequence[Any]) -> np.ndarray:
    if len({np.shape(value) for value in values}) > 1:
        raise ValueError("they have different shapes")
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError("they are no arrays of numbers")
    return array


def _count(shapes: dict[str, tuple[int, ...]], max_items: int) -> int:
    counts = {name: shape[0] if shape else None for name, shape in shapes.items()}
    if None in counts.values():
        name = next(name for name, count in counts.items() if count is None)
        raise InvalidInput(f"{_short(name)} has no axis; the first is the items")
    if len(set(counts.values())) != 1:
        told = _SHOWN.repr(counts)
        raise InvalidInput(f"the arrays' first axis is the items, and they have different numbers of them: {told}")
    count = next(iter(counts.values())) or 0
    if not 1 <= count <= max_items:
        raise InvalidInput(f"the body holds {count} items; from 1 to {max_items} are taken")
    return count


def _archive(body: bytes, max_bytes: int) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = archive.infolist()
            if not 1 <= len(entries) <= MOST_ARRAYS:
                raise InvalidInput(f"the .npz holds {len(entries)} arrays; from 1 to {MOST_ARRAYS} are read")
            if (size := sum(entry.file_size for entry in entries)) > max_bytes:
                raise InvalidInput(f"the .npz unpacks to {size} bytes; {max_bytes} are taken (max_body_bytes)")
            return {e.filename.removesuffix(".npy"): _array(_unpacked(archive, e), _short(e.filename)) for e in entries}
    except InvalidInput:
        raise
    except Exception as error:  # damaged, encrypted, of an unknown compression: each raises something else
        raise InvalidInput(f"the body is no .npz that can be read: {type(error).__name__}") from None


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Reads no more than the entry's size: what is packed may be larger than it says."""
    with archive.open(entry) as file:
        return file.read(entry.file_size)


def _array(data: bytes, what: str) -> np.ndarray:
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, in_columns, dtype = read_header(file)
    except Exception:  # the header is a Python literal from outside
        raise InvalidInput(f"{what} is no .npy file, nor a .npz") from None
    if dtype.kind not in "biuf":
        kind = "Python objects, which are not unpickled" if dtype.hasobject else f"values of the type {dtype!s:.40}"
        raise InvalidInput(f"{what} holds {kind}; numbers and booleans are taken")
    if len(shape) > MOST_AXES or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise InvalidInput(f"{what} has a shape that no array can have")
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if wanted != there:
        said = f"{shape} of {dtype}, {_SHOWN.repr(wanted)} bytes"
        raise InvalidInput(f"{what} has {there} bytes of data; its header says {said}")
    try:
        flat = np.frombuffer(data, dtype, offset=file.tell()) if wanted else np.empty(0, dtype)
        if dtype.kind == "b":
            flat = flat.view(np.uint8) != 0  # any byte may stand there, and only 0 and 1 are booleans
        return flat.reshape(shape, order="F" if in_columns else "C")
    except (ValueError, OverflowError):  # nothing, times more than NumPy counts
        raise InvalidInput(f"{what} has a shape that no array can have") from None


def _short(name: str) -> str:
    """It may be of any length."""
    return _SHOWN.repr(name)[1:-1]
