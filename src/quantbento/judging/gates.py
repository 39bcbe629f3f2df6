"""Decides by the gates whether a variant may be stored.

Nothing is rounded and there is no tolerance. Binary floats cannot hold most decimals: 1 - 0.995 is more than 0.005 as
floats, although 398 right answers of 400 are a drop of exactly 0.005 from 400. So limits are the decimals that the
recipe has, and a metric is the simplest fraction that its float stands for (398/400), and these are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from quantbento.recipe.gates import LEVELS, METRIC_RULES, GateResult, Gates

Intervals = Mapping[str, Mapping[str, list[float]]]  # as `VariantRow.intervals`
MOST_PARTS = 10**6  # a larger denominator is no count of samples
KINDS = {"min": "value", "max": "value", "max_drop": "drop", "min_recovery": "recovery"}  # the interval of each rule


def judge(
    gates: Gates,
    metrics: Mapping[str, float],
    baseline: Mapping[str, float],
    better: Mapping[str, int],
    *,
    speedup: float,
    size_ratio: float,
    intervals: Intervals | None = None,
    primary: Sequence[str] = (),
) -> list[GateResult]:
    """Every gate's result.

    Args:
        better: +1 for a metric where larger is better, else -1. A drop is how much worse the variant is than the
            baseline, in whichever direction is worse.
        intervals: 95 % intervals, as `VariantRow.intervals`.
        primary: metrics that have a recovery, the task's first: a `level` holds for the first that was measured.
    """
    found = intervals or {}
    wanted = [(rule, metric, limit) for rule in METRIC_RULES for metric, limit in getattr(gates, rule).items()]
    if gates.level is not None:
        first = next((name for name in primary if name in metrics), primary[0] if primary else "quality")
        wanted.append((gates.level, first, LEVELS[gates.level]))
    results = []
    for rule, metric, limit in wanted:
        kind = KINDS.get(rule, "recovery")
        value = _figure(kind, metric, metrics, baseline, better)
        interval = found.get(metric, {}).get(kind)
        results.append(_judged(metric, rule, limit, value, interval, bool(gates.confident)))
    if (least := gates.min_speedup) is not None:
        interval = found.get("speedup", {}).get("value")
        sure = bool(gates.confident) and math.isfinite(speedup)  # infinite: speed is not what is asked about
        results.append(_judged("speedup", "min_speedup", least, exact(speedup), interval, sure))
    if (most := gates.max_size_ratio) is not None:  # counted, not sampled: there is no noise in it
        results.append(_judged("size_ratio", "max_size_ratio", most, exact(size_ratio), None, False))
    return results


def exact(value: float) -> Fraction | float:
    """The simplest fraction that is this float, if it has a denominator of up to a million, as the share of so many
    samples has; else the float's own value. NaN and infinity stay floats."""
    if not math.isfinite(value):
        return value
    simple = Fraction(value).limit_denominator(MOST_PARTS)
    return simple if float(simple) == value else Fraction(value)


def _figure(
    kind: str, metric: str, metrics: Mapping[str, float], baseline: Mapping[str, float], better: Mapping[str, int]
) -> Fraction | float | None:
    if metric not in metrics or (kind != "value" and metric not in baseline):
        return None
    own = exact(metrics[metric])
    if kind == "value":
        return own
    base = exact(baseline[metric])
    if kind == "drop":
        return better[metric] * (base - own)
    of, to = (own, base) if better[metric] > 0 else (base, own)
    return of / to if base > 0 and to > 0 and math.isfinite(own) else None


def _judged(
    metric: str, rule: str, limit: float, value: Fraction | float | None, interval: list[float] | None, confident: bool
) -> GateResult:
    if value is None:
        return GateResult(metric, rule, limit, None, False, confident=confident)
    result = GateResult(metric, rule, limit, _float(value), False, interval, confident)
    compared: Fraction | float | None = value
    if confident:
        compared = None if interval is None else exact(interval[0 if result.is_least else 1])
    border = Fraction(repr(limit))
    passed = compared is not None and (compared >= border if result.is_least else compared <= border)
    told = result.value
    if not passed and told == limit and not confident:  # nearer than floats are to each other: it shows that it failed
        told = math.nextafter(limit, -math.inf if result.is_least else math.inf)
    return GateResult(metric, rule, limit, told, passed, interval, confident)


def _float(value: Fraction | float) -> float:
    """Infinity where it is too large for a float: a recovery whose divisor is next to nothing."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
