"""What clients send becomes the model's type exactly, or is refused with the value that does not fit."""

import tracemalloc

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.tasks.tensor.values import DTYPES, converted, numbers

WHAT = "x must be numbers"


def taken(value, dtype):
    return converted(numbers(value, WHAT), np.dtype(dtype), "x")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_is_taken_from_lists_and_from_arrays(dtype):
    for value in ([[0, 1], [1, 0]], np.array([[0, 1], [1, 0]], dtype=np.int8), np.array([[0, 1], [1, 0]], np.float64)):
        array = taken(value, dtype)
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_limits_of_a_type_are_in_it_and_what_is_beyond_is_not(dtype):
    kind = np.dtype(dtype)
    if kind.kind == "b":
        limits, beyond = [0, 1], [2, -1]
    elif kind.kind == "f":
        limits = [float(np.finfo(kind).min), float(np.finfo(kind).max)]
        beyond = [] if dtype == "float64" else [limits[0] * 2, limits[1] * 2]
        beyond += [10**400, float("inf")]
    else:
        limits = [int(np.iinfo(kind).min), int(np.iinfo(kind).max)]
        beyond = [limits[0] - 1, limits[1] + 1, 10**30]
    for value in limits:
        assert taken([value], dtype)[0] == value
    for value in beyond:
        with pytest.raises(InvalidInput, match=r"^x must be"):
            taken([0, value], dtype)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([0, 300], "uint8", r"x must be from 0 to 255 \(uint8\): it holds 300$"),
        ([0, -1], "uint64", r"x must be from 0 to 18446744073709551615 \(uint64\): it holds -1$"),
        ([2**63], "int64", r"x must be from -9223372036854775808 to 9223372036854775807 \(int64\): it holds 9223372"),
        ([0, 1.5], "int64", r"x must be whole numbers \(int64\): it holds 1.5$"),
        ([float("nan")], "int8", r"x must be whole numbers \(int8\): it holds nan$"),
        ([0, 2], "bool", "x must be true or false: it holds 2$"),
        ([float("nan")], "float16", "x must be finite in float16: it holds NaN or infinity$"),
        ([70000], "float16", "x must be finite in float16"),
        ([1.0, 1e39], "float32", "x must be finite in float32"),
        ([1.0, None], "float32", "x must be numbers: it holds null$"),
        ([1, None], "int64", "x must be numbers: it holds null$"),
        (["1", "2"], "float32", "x must be numbers: it holds text$"),
        ([1, "2", 10**30], "float32", "x must be numbers: it holds text$"),
        ([[1], [[2, "3"]]], "float32", "x must be numbers: it holds text$"),
        ("1", "float32", "x must be numbers, and is not$"),
        ([10**5000], "int64", r"x must be from .* \(int64\): it holds an integer of 16610 bits$"),
        ([[1.0], [1.0, 2.0]], "float32", "x must be numbers, and is not$"),
        ([{}], "float32", "x must be numbers, and is not$"),
        (np.array([1 + 2j]), "float32", "x must be numbers, and is not$"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "int64", "x must be numbers, and is not$"),
        (np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]), "int32", "x must be numbers, and is not$"),
    ],
)
def test_what_does_not_fit_is_named(value, dtype, message):
    with pytest.raises(InvalidInput, match=message):
        taken(value, dtype)


def test_booleans_are_numbers_and_whole_floats_are_integers():
    assert taken([True, False], "float32").tolist() == [1.0, 0.0]
    assert taken([3.0, -2.0], "int16").tolist() == [3, -2]
    assert taken([1.0, 0.0], "bool").tolist() == [True, False]


def test_text_takes_no_memory():
    """NumPy would make room for the longest text in each place: 40 GB here."""
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="it holds text"):
        taken(["a" * 1_000_000, *range(10_000)], "float32")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_an_array_in_the_middle_of_a_body_is_aligned():
    array = np.frombuffer(bytes(17), np.float32, offset=1)
    assert not array.flags.aligned
    assert taken(array, "float32").flags.aligned


def test_an_array_of_the_right_type_is_not_copied():
    array = np.ones((3, 4), dtype=np.int32)
    assert taken(array, "int32") is array


def test_other_byte_orders_and_other_layouts_in_memory_are_put_right():
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    result = taken(array, "float32")
    assert result.dtype.isnative and result.flags.c_contiguous
    assert result.tolist() == array.tolist()


def test_a_lone_number_stays_one():
    assert taken(16000, "int64").shape == ()


def test_nesting_deeper_than_arrays_go_is_no_array():
    value = 1.0
    for _ in range(200):
        value = [value]
    with pytest.raises(InvalidInput, match="x must be numbers, and is not"):
        taken(value, "float32")
