"""Whether a variant may be stored, and by how much it passes or fails."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from quantbento.judging.evaluate import recovery
from quantbento.recipe import Gates


@dataclass(frozen=True)
class GateResult:
    """`value` is what `limit` is held against; None where the metric could not be measured, which fails."""

    metric: str
    rule: str
    limit: float
    value: float | None
    passed: bool

    def __str__(self) -> str:
        verb = "passed" if self.passed else "failed"
        if self.value is None:
            return f"{self.rule} {self.metric} {verb}: it was not measured (are the samples labelled?)"
        off = abs(self.value - self.limit)
        more = "to spare" if self.passed else "short" if self.rule.startswith("min") else "too much"
        subject = self.rule if self.rule.endswith(self.metric) else f"{self.rule} {self.metric}"
        return f"{subject} {verb}: {self.value:.4g} against {self.limit:g} ({off:.4g} {more})"

    def report(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    gates: Gates,
    metrics: dict[str, float],
    baseline: dict[str, float],
    better: dict[str, int],
    *,
    speedup: float,
    size_ratio: float,
) -> list[GateResult]:
    """Every gate's result. `better` is +1 for a metric where larger is better, -1 otherwise; a drop is how much
    worse the variant is than the baseline, whichever way that is."""
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
        # A drop of 2 in 400 samples is 0.005 up to rounding of the binary fraction.
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
