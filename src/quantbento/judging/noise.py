"""How much of a difference is noise: 95 % bootstrap intervals of every metric, of its drop and of its recovery.

Samples are drawn with replacement, as many as there are, and the metric is computed anew from these; 95 % of the values
lie in the percentile interval (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). The baseline
is measured on the same draws, so that what makes a draw hard for both cancels out of the difference (paired bootstrap,
Koehn 2004, https://aclanthology.org/W04-3250).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbento.judging.evaluation.base import Evaluation, Of, Outcome
from quantbento.tasks.base import Metric

CONFIDENCE = 0.95
RESAMPLES = (2000, 1000, 500, 200)  # the most that fit into the seconds; never fewer than the last
SECONDS = 3.0  # per kind of evaluation
FEWEST_ROUNDS = 6  # of which a median has an interval
SEED = 0

Ends = list[float]  # [low, high]
Intervals = dict[str, dict[str, Ends]]


@dataclass(frozen=True)
class Noise:
    """`intervals` as `VariantRow.intervals`; `resamples`, how many draws the least sure of them is made of."""

    intervals: Intervals
    resamples: int | None


def estimate(evaluations: Sequence[Evaluation], baseline: Outcome, variant: Outcome) -> Noise:
    """The intervals of all metrics that have one: not of extremes, nor of a single unit, nor where a metric is not
    defined for a draw. The same samples give the same draws in every run."""
    intervals: Intervals = {}
    counts = []
    for evaluation in evaluations:
        if (units := evaluation.units(variant)) < 2:
            continue
        own, base = evaluation.resampler(baseline, variant), evaluation.resampler(baseline, baseline)
        every = np.arange(units)
        first = own(every), base(every)  # also warms up
        start = time.process_time()  # how busy the machine is must not decide how sure the report is
        own(every), base(every)
        count = _affordable(time.process_time() - start)
        names = [name for name in first[0] if name in first[1] and not evaluation.metrics[name].extreme]
        if not names:
            continue
        counts.append(count)
        drawn = _bootstrapped(own, base, {name: evaluation.metrics[name] for name in names}, units, count)
        for (name, figure), (low, high) in drawn:
            if np.isfinite([low, high]).all():
                intervals.setdefault(name, {})[figure] = [float(low), float(high)]
    return Noise(intervals, min(counts, default=None))


def of_median(values: Sequence[float]) -> Ends | None:
    """The 95 % interval of the median by order statistics, which holds for any distribution (Conover 1999, chapter
    3.2); None for fewer than six values, which cannot give that much confidence.

    Args:
        values: such as the ratio of each round of a benchmark.
    """
    from scipy.stats import quantile_test

    if len(values) < FEWEST_ROUNDS:
        return None
    found = quantile_test(np.asarray(values), p=0.5).confidence_interval(CONFIDENCE)
    return [float(found.low), float(found.high)]


def within_noise(ends: Ends, border: float = 0.0) -> bool:
    """Whether an interval says that there may be no difference: of a drop, 0 is in it; of a speedup, 1."""
    return ends[0] <= border <= ends[1]


def told(
    metrics: Mapping[str, float], baseline: Mapping[str, float], intervals: Mapping[str, Mapping[str, Ends]], name: str
) -> list[str]:
    """For people: whether a metric and the speedup differ from the baseline's beyond noise. Empty of what has no
    interval, and of metrics that compare with the baseline itself, which is exactly like itself."""
    lines = []
    drop = intervals.get(name, {}).get("drop")
    if drop is not None and (within_noise(drop) or abs(baseline[name] - 1) > 1e-9):
        verdict = "is within noise" if within_noise(drop) else "is beyond noise"
        ends = f"95 % interval of the drop {drop[0]:.4g} to {drop[1]:.4g}"
        lines.append(f"{name} {metrics[name]:.4g} against {baseline[name]:.4g} of the baseline {verdict} ({ends})")
    speed = intervals.get("speedup", {}).get("value")
    if speed is not None and within_noise(speed, 1.0):
        lines.append(f"the speedup is within noise (95 % interval of the median {speed[0]:.3g} to {speed[1]:.3g})")
    return lines


def _affordable(seconds: float) -> int:
    return next((count for count in RESAMPLES if count * seconds <= SECONDS), RESAMPLES[-1])


def _bootstrapped(
    own: Of, base: Of, metrics: dict[str, Metric], units: int, count: int
) -> Iterator[tuple[tuple[str, str], Any]]:
    """The name and the figure with the ends of its interval."""
    from scipy.stats import DegenerateDataWarning, bootstrap

    figures = [(name, figure) for name in metrics for figure in ("value", "drop", "recovery")]

    def statistic(draws: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray([_figures(own(draw), base(draw), metrics) for draw in draws]).T

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # of a recovery that is not defined; it is left out
        found = bootstrap(
            (np.arange(units),),
            statistic,
            n_resamples=count,
            vectorized=True,
            axis=-1,
            confidence_level=CONFIDENCE,
            method="percentile",
            batch=200,
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    yield from zip(figures, zip(found.low, found.high, strict=True), strict=True)


def _figures(own: dict[str, float], base: dict[str, float], metrics: dict[str, Metric]) -> list[float]:
    """Value, drop and recovery of each metric; NaN where it is not defined."""
    figures = []
    for name, metric in metrics.items():
        value, of = own.get(name, np.nan), base.get(name, np.nan)
        divided = (value, of) if metric.better > 0 else (of, value)
        recovery = divided[0] / divided[1] if metric.recovers and of > 0 and divided[1] > 0 else np.nan
        figures += [value, metric.better * (of - value), recovery]
    return figures
