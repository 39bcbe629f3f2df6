"""Metrics of each group of samples, by a column that the recipe names: a mean hides a language, a class or a source
that quantization hurts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantbento.judging.evaluation.base import Evaluation, Outcome

NAMED = 3  # groups that the console names

Groups = dict[str, dict[str, Any]]


def by_group(
    evaluations: Sequence[Evaluation], groups: Sequence[str] | None, baseline: Outcome, variant: Outcome
) -> Groups:
    """`VariantRow.groups`: for each group, `samples`, `metrics` and the `baseline`'s; in the order of the samples.

    Args:
        groups: the group of each sample; None where the recipe names no column.
    """
    if groups is None:
        return {}
    found: Groups = {}
    measured = [e for e in evaluations if e.has_groups]
    of = [(e.of_samples(baseline, variant), e.of_samples(baseline, baseline)) for e in measured]
    for group in dict.fromkeys(groups):
        places = np.flatnonzero([own == group for own in groups])
        metrics, base = ({name: v for e in of for name, v in e[side](places).items()} for side in (0, 1))
        found[group] = {"samples": len(places), "metrics": metrics, "baseline": base}
    return found


def told(groups: Mapping[str, Mapping[str, Any]], metric: str, better: int) -> str | None:
    """For people: the groups that lose most of a metric, the worst first; None where none loses any."""
    drops = {
        group: better * (row["baseline"][metric] - row["metrics"][metric])
        for group, row in groups.items()
        if metric in row["metrics"] and metric in row["baseline"]
    }
    worst = sorted((g for g in drops if drops[g] > 0), key=lambda g: -drops[g])[:NAMED]
    if not worst:
        return None
    parts = [
        f"{g!r} {groups[g]['metrics'][metric]:.4g} ({groups[g]['baseline'][metric]:.4g} of the baseline, "
        f"{groups[g]['samples']} samples)"
        for g in worst
    ]
    return f"worst groups by {metric}: {', '.join(parts)}"
