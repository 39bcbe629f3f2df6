"""Rows of one shape are one array; rows of several are kept apart, and go back to their items' order."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.tasks.rows import finite, flat, holds_floats, joined, row_distances, shapes, stacked

LONG, SHORT = np.arange(6.0).reshape(3, 2), np.ones((1, 2))


def test_rows_of_one_shape_are_one_array():
    values = stacked([LONG, LONG + 1])
    assert values.shape == (2, 3, 2)
    assert values.dtype == np.float64


def test_rows_of_several_shapes_are_kept_apart():
    values = stacked([LONG, SHORT])
    assert values.dtype == object
    assert shapes(values) == [(3, 2), (1, 2)]
    assert np.array_equal(values[0], LONG)


@pytest.mark.parametrize("ragged", [False, True], ids=["one-shape", "several"])
def test_chunks_go_back_to_the_order_of_the_items(ragged):
    rows = [np.full((1 + (i % 2) * ragged, 2), i, np.float32) for i in range(4)]
    order = [3, 1, 0, 2]
    chunks = [stacked([rows[i] for i in order[:2]]), stacked([rows[i] for i in order[2:]])]
    back = joined(chunks, order)
    assert [int(row.flat[0]) for row in back] == [0, 1, 2, 3]
    assert shapes(back) == [row.shape for row in rows]


def test_chunks_of_different_shapes_are_joined():
    back = joined([stacked([LONG, LONG]), stacked([SHORT])], [2, 0, 1])
    assert shapes(back) == [(3, 2), (1, 2), (3, 2)]


def test_all_numbers_in_a_line():
    assert flat(stacked([LONG, SHORT])).tolist() == [0, 1, 2, 3, 4, 5, 1, 1]
    assert flat(stacked([SHORT, SHORT])).tolist() == [1, 1, 1, 1]


def test_a_row_with_nan_or_infinity_is_found():
    bad = LONG.copy()
    bad[1, 1] = np.nan
    assert finite(stacked([LONG, bad])).tolist() == [True, False]
    assert finite(stacked([SHORT * np.inf, bad, SHORT])).tolist() == [False, False, True]
    assert finite(np.asarray([1, 2])).tolist() == [True, True]


def test_a_row_of_nothing_is_finite():
    assert finite(np.zeros((2, 0, 4))).tolist() == [True, True]


def test_rows_hold_floats_or_they_do_not():
    assert holds_floats(stacked([LONG, SHORT])) and holds_floats(stacked([LONG, LONG]))
    assert not holds_floats(stacked([LONG.astype(np.int64), SHORT.astype(np.int64)]))
    assert not holds_floats(np.array([True]))


def test_distances_are_of_each_item():
    b = {"a": np.array([[3.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), "n": np.array([1, 2, 3])}
    v = {"a": np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]]), "n": np.array([1, 2, 9])}
    assert row_distances(b, v).tolist() == [0.8, 0, 0]
    assert row_distances({"n": b["n"]}, {"n": v["n"]}).tolist() == [0, 0, 1]
    ragged = [stacked([np.ones(2), np.ones(3)]), stacked([np.ones(2), np.array([1.0, 1.0, -1.0])])]
    assert row_distances({"x": ragged[0]}, {"x": ragged[1]}).tolist() == [0, pytest.approx(2 / 3**0.5)]
