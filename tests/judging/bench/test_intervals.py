"""Intervals hold between runs: simulated runs whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.judging.bench.intervals import between_runs, of_ratio

TRUTH, PASSES, ROUNDS = 2.0, 5, 9


def run(chance: np.random.Generator, own: float) -> tuple[list[list[float]], list[list[float]]]:
    """Seconds of two models. Both slow down by 30 % over the run, each process places each model a little better or
    worse (`own`, relative), rounds are noisy, and one call in 20 is disturbed."""
    reference, contender = [], []
    for pass_ in range(PASSES):
        drift = np.exp(0.3 * (pass_ + np.arange(ROUNDS) / ROUNDS) / PASSES)
        for seconds, into in ((TRUTH, reference), (1.0, contender)):
            noise = chance.normal(0, 0.05, ROUNDS) + np.where(chance.random(ROUNDS) < 0.05, 1.0, 0.0)
            into.append(list(seconds * drift * np.exp(chance.normal(0, own) + noise)))
    return reference, contender


def bootstrapped(reference: list[list[float]], contender: list[list[float]], chance: np.random.Generator):
    """The interval that is not used: of the median, over all rounds."""
    ratios = np.concatenate(reference) / np.concatenate(contender)
    medians = np.median(chance.choice(ratios, (200, len(ratios))), axis=1)
    return np.percentile(medians, 2.5), np.percentile(medians, 97.5)


@pytest.mark.parametrize("own", [0.0, 0.02, 0.1])
def test_a_second_run_lands_in_the_interval_of_the_first(own):
    chance = np.random.default_rng(1)
    firsts, seconds = ([of_ratio(*run(chance, own)) for _ in range(400)] for _ in range(2))
    pairs = list(zip(firsts, seconds, strict=True))
    assert np.mean([a.low <= b.median <= a.high for a, b in pairs]) >= 0.92
    assert np.mean([a.overlaps(b) for a, b in pairs]) >= 0.98
    assert np.mean([a.low <= TRUTH <= a.high for a in firsts]) >= 0.95


def test_a_bootstrap_over_rounds_is_too_narrow():
    """The reason for passes: with what a process does to a model, two runs disagree in most cases."""
    chance = np.random.default_rng(1)
    held = []
    for _ in range(200):
        low, high = bootstrapped(*run(chance, 0.1), chance)
        held.append(low <= of_ratio(*run(chance, 0.1)).median <= high)
    assert np.mean(held) < 0.6


def test_the_formula_by_hand():
    """Logarithms 0 and 0.2: mean 0.1, s = 0.141421, t(1) = 12.7062, so 12.7062 * 0.141421 * sqrt(2 / 2) = 1.79693."""
    found = between_runs([1.0, np.exp(0.2)])
    assert np.log([found.median, found.low, found.high]) == pytest.approx([0.1, 0.1 - 1.79693, 0.1 + 1.79693], abs=1e-4)


def test_equal_passes_leave_no_doubt_and_rounds_are_paired():
    found = of_ratio([[2.0, 20.0, 4.0]] * 3, [[1.0, 10.0, 2.0]] * 3)
    assert (found.low, found.median, found.high) == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("passes", [[], [1.0], [1.0, 0.0]])
def test_what_says_nothing_is_refused(passes):
    with pytest.raises(ValueError, match="at least 2 values above zero"):
        between_runs(passes)
