"""Counts of the last hours: in constant memory, and gone when they are old."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from quantbento.serving import request_window
from quantbento.serving.request_window import BOUNDS, RequestWindow

HOUR = 3600


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time, to be set."""
    at = [1000.0]
    monkeypatch.setattr(request_window.time, "monotonic", lambda: at[0])
    return at


def test_what_is_older_than_a_window_does_not_count(now):
    window = RequestWindow()
    for now[0] in (1000.0, 1000.0 + 2 * HOUR, 1000.0 + 4 * HOUR):
        window.note(200, 0.1)
    assert [window.sums(seconds).requests for seconds in (300, HOUR, 3 * HOUR, 6 * HOUR)] == [1, 1, 2, 3]
    now[0] += 3 * HOUR
    assert [window.sums(seconds).requests for seconds in (300, HOUR, 3 * HOUR, 6 * HOUR)] == [0, 0, 0, 2]
    now[0] += 30 * HOUR
    assert window.sums(6 * HOUR).requests == 0


def test_statuses_are_told_apart(now):
    window = RequestWindow(slow=0.3)
    for status, seconds in [(200, 0.1), (200, 0.4), (404, 9), (429, 9), (500, 9), (503, 9), (504, 9)]:
        window.note(status, seconds)
    sums = window.sums(300)
    assert (sums.requests, sums.unavailable, sums.failed, sums.slow, sums.answers) == (7, 4, 2, 1, 2)


def test_a_percentile_is_that_of_the_answers_to_a_bucket(now):
    window, seconds = RequestWindow(), np.random.default_rng(0).lognormal(-3, 1, 20_000)
    for each in seconds:
        window.note(200, each)
    exact = np.quantile(seconds, 0.95)
    high = next(bound for bound in BOUNDS if bound >= exact)
    low = BOUNDS[BOUNDS.index(high) - 1]
    assert low <= window.sums(300).quantile(0.95) <= high
    assert window.sums(300).quantile(0.95) == pytest.approx(exact, rel=0.2)


def test_within_a_bucket_a_percentile_is_linear(now):
    window = RequestWindow()
    for _ in range(100):
        window.note(200, 0.2)
    assert window.sums(300).quantile(0.95) == pytest.approx(0.1 + 0.95 * 0.15)


def test_a_percentile_beyond_the_last_bound_is_the_bound_and_of_nothing_none(now):
    window = RequestWindow()
    assert window.sums(300).quantile(0.95) is None
    window.note(200, 1e6)
    assert window.sums(300).quantile(0.95) == BOUNDS[-1]


def test_memory_is_constant(now):
    window = RequestWindow()
    before = sys.getsizeof(window._counts)
    assert before < 400_000
    for now[0] in range(1000, 1000 + 24 * HOUR, 97):
        window.note(200, 0.1)
    assert sys.getsizeof(window._counts) == before
    assert vars(window).keys() == vars(RequestWindow()).keys()
