"""Lines below the table: what is within noise, and which groups of samples are worst."""

from __future__ import annotations

from quantbento.judging import groups, noise
from quantbento.judging.rows import Report, VariantRow
from quantbento.recipe.gates import GateResult


def doubts(report: Report, variant: VariantRow, metric: str) -> list[str]:
    """One line each.

    Args:
        metric: the one in the table.
    """
    if report.baseline is None or variant.error:
        return []
    lines = noise.told(variant.metrics, report.baseline.metrics, variant.intervals, metric)
    results = [GateResult(**gate) for gate in variant.gates]
    lines += [str(result) for result in results if result.passed and result.within_noise]
    if worst := groups.told(variant.groups, metric, report.better.get(metric, 1)):
        lines.append(worst)
    return lines
