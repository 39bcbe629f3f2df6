"""The samples that moved furthest are listed; what is in them only where it was asked for."""

from pathlib import Path

import numpy as np
import pytest

from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.evaluation.items import Items
from quantbento.judging.worst import furthest, readable
from quantbento.tasks.source import SampleSet
from tests.jobs import tensor_task


def outcome(values, answers=None) -> Outcome:
    return Outcome({"output": np.asarray(values, np.float32)}, answers)


ITEMS = Items(tensor_task({"x": [2]}, ["output"]), SampleSet(["a", "b", "c"]))
BASELINE = outcome([[1, 0], [0, 2], [3, 4]], ["A", "B", "C"])
VARIANT = outcome([[1, 0], [0, 1], [3, 3]], ["A", "b", "c"])


def test_the_worst_come_first_without_their_data():
    found = furthest(ITEMS, BASELINE, VARIANT, None)
    assert [entry["index"] for entry in found] == [1, 2, 0]
    assert [entry["distance"] for entry in found] == pytest.approx([0.5, 0.2, 0])
    assert found[0].keys() == {"index", "distance"}


def test_inputs_and_answers_are_shown_where_the_recipe_asks():
    (only,) = furthest(ITEMS, BASELINE, VARIANT, 1)
    assert only == {"index": 1, "distance": 0.5, "input": "b", "baseline": "B", "variant": "b"}


def test_rows_that_are_no_samples_have_no_distances():
    assert furthest(ITEMS, outcome([[1, 0]]), outcome([[1, 0]]), None) == []


def test_values_are_readable():
    assert readable({"x": np.arange(3), "y": (np.float32(0.5), None, True)}) == {"x": [0, 1, 2], "y": [0.5, None, True]}
    assert readable(np.zeros((9, 9))) == "float64 array of shape (9, 9)"
    assert readable("a" * 3000) == "a" * 2000 + "..."
    assert readable(Path("/home/somebody/cat.png")) == "cat.png"
    assert readable(b"secret") == "bytes"
