"""Batches' times are learnt, and predicted by their size."""

from __future__ import annotations

import pytest

from quantbento.serving.batching.pace import Pace


def test_nothing_is_known_at_first():
    assert Pace().seconds(100) == 0


def test_a_fixed_part_and_one_for_each_token():
    pace = Pace()
    for size in (10, 50, 100, 20, 80):
        pace.learn(size, 0.01 + 0.001 * size)
    assert pace.seconds(40) == pytest.approx(0.05)
    assert pace.seconds(200) == pytest.approx(0.21)


def test_batches_of_one_size_take_as_long_as_they_took():
    pace = Pace()
    for _ in range(5):
        pace.learn(32, 0.1)
    assert pace.seconds(32) == pace.seconds(1) == pytest.approx(0.1)


def test_noise_does_not_make_larger_batches_faster_or_small_ones_negative():
    falling, steep = Pace(), Pace()
    for size, seconds in ((10, 0.2), (100, 0.1)):
        falling.learn(size, seconds)
    for size, seconds in ((90, 0.001), (100, 0.1)):
        steep.learn(size, seconds)
    assert falling.seconds(1000) == pytest.approx(falling.seconds(10))
    assert steep.seconds(1) >= 0


def test_what_was_long_ago_counts_little():
    pace = Pace()
    pace.learn(10, 5.0)
    for _ in range(100):
        pace.learn(10, 0.1)
    assert pace.seconds(10) == pytest.approx(0.1, abs=0.05)
