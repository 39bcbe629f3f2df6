"""How far two answers are from each other."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.serving.versions.distance import distance

VECTOR = np.asarray([3.0, 4.0], np.float32)
CASES = {
    "equal vectors": (VECTOR, VECTOR.copy(), 0),
    "relative": (VECTOR, np.asarray([3.0, 4.5]), 0.1),
    "other shape": (VECTOR, np.ones(3), 1),
    "lists of numbers": ([3.0, 4.0], [3.0, 4.5], 0.1),
    "numbers": (2.0, 1.0, 0.5),
    "zeros": (np.zeros(2), np.zeros(2), 0),
    "same label": ({"label": "good", "score": 0.8}, {"label": "good", "score": 0.6}, 0.25),
    "other label": ({"label": "good", "score": 0.8}, {"label": "bad", "score": 0.8}, 1),
    "other keys": ({"a": 1}, {"b": 1}, 1),
    "list of mappings": ([{"a": 1.0}, {"a": 2.0}], [{"a": 1.0}, {"a": 3.0}], 0.5),
    "other number of entities": ([{"a": 1}], [], 1),
    "nothing": ([], [], 0),
    "truth values": (True, False, 1),
    "not finite": (np.asarray([np.inf]), np.asarray([1.0]), 1),
    "equally not finite": (np.asarray([np.inf, np.nan]), np.asarray([np.inf, np.nan]), 0),
}


@pytest.mark.parametrize(("one", "two", "expected"), CASES.values(), ids=CASES)
def test_distance(one, two, expected):
    assert distance(one, two) == pytest.approx(expected, abs=1e-6)
