"""Decides by the gates whether a variant may be stored."""

from __future__ import annotations

from quantbento.judging.evaluate import recovery
from quantbento.recipe.gates import GateResult, Gates


def judge(
    gates: Gates,
    metrics: dict[str, float],
    baseline: dict[str, float],
    better: dict[str, int],
    *,
    speedup: float,
    size_ratio: float,
) -> list[GateResult]:
    """Every gate's result. `better` is +1 for a metric where larger is better, else -1. A drop is how much worse the
    variant is than the baseline, in whichever direction is worse."""
    results = []
    recovered = recovery(metrics, baseline, better)
    for metric, limit in gates.min.items():
        value = metrics.get(metric)
        results.append(GateResult(metric, "min", limit, value, value is not None and value >= limit))
    for metric, limit in gates.max.items():
        value = metrics.get(metric)
        results.append(GateResult(metric, "max", limit, value, value is not None and value <= limit))
    for metric, limit in gates.max_drop.items():
        value = None
        if metric in metrics and metric in baseline:
            value = better[metric] * (baseline[metric] - metrics[metric])
        # A drop of 2 in 400 samples is 0.005 only up to binary rounding.
        results.append(GateResult(metric, "max_drop", limit, value, value is not None and value <= limit + 1e-9))
    for metric, limit in gates.min_recovery.items():
        value = recovered.get(metric)
        results.append(GateResult(metric, "min_recovery", limit, value, value is not None and value >= limit))
    if gates.min_speedup is not None:
        results.append(GateResult("speedup", "min_speedup", gates.min_speedup, speedup, speedup >= gates.min_speedup))
    if gates.max_size_ratio is not None:
        passed = size_ratio <= gates.max_size_ratio
        results.append(GateResult("size_ratio", "max_size_ratio", gates.max_size_ratio, size_ratio, passed))
    return results
