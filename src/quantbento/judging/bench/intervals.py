"""Intervals that hold between runs, not only inside one.

Rounds of one process share its memory layout, its threads' places and the machine's mood of that minute, so an interval
from rounds alone (a bootstrap over them) is too narrow: the next run lands outside of it. A run therefore consists of
passes, each a process of its own. Rounds only give each pass its median, and the passes are the sample
(Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013: repeat at the highest level that varies).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
FEWEST_PASSES = 2  # one pass says nothing of the next


@dataclass(frozen=True)
class Interval:
    """`median`: the geometric mean of the passes' medians. `low` and `high`: where the same figure of another run with
    as many passes lands, in 19 of 20 cases."""

    median: float
    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


def between_runs(passes: Sequence[float]) -> Interval:
    """The interval of a positive figure (a ratio, a throughput) with one value per pass.

    A prediction interval for the mean of as many new passes: with K logarithms of mean m and standard deviation s,
    m +- t(K - 1) * s * sqrt(1/K + 1/K) (Hahn and Meeker, "Statistical Intervals", section 4.8). It is wider than a
    confidence interval of the mean by sqrt(2), because the other run has its own error.

    Raises:
        ValueError: fewer than two passes, or a value that is not above zero.
    """
    if len(passes) < FEWEST_PASSES or min(passes) <= 0:
        raise ValueError(f"needed are at least {FEWEST_PASSES} values above zero, not {list(passes)}")
    from scipy.stats import t

    logs = np.log(np.asarray(passes, np.float64))
    count = len(logs)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * float(logs.std(ddof=1)) * math.sqrt(2 / count)
    middle = float(logs.mean())
    return Interval(math.exp(middle), math.exp(middle - half), math.exp(middle + half))


def of_ratio(reference: Sequence[Sequence[float]], contender: Sequence[Sequence[float]]) -> Interval:
    """How many times as fast the contender is as the reference.

    Args:
        reference, contender: for each pass, the seconds of its rounds; rounds with one number were measured side by
            side, so a slow moment of the machine slows both.
    """
    medians = [
        float(np.median([r / c for r, c in zip(own, other, strict=True)]))
        for own, other in zip(reference, contender, strict=True)
    ]
    return between_runs(medians)
