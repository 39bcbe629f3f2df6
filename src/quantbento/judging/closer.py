"""Looks closer at an evaluated variant: how much of its metrics is noise, which groups and which samples are worst."""

from __future__ import annotations

from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.evaluation.kinds import evaluations
from quantbento.judging.groups import by_group
from quantbento.judging.noise import estimate
from quantbento.judging.rows import VariantRow
from quantbento.judging.worst import furthest
from quantbento.tasks.base import Task
from quantbento.tasks.source import SampleSet


def look_closer(row: VariantRow, task: Task, samples: SampleSet, baseline: Outcome, variant: Outcome) -> None:
    """Fills the row's `intervals`, `resamples`, `groups` and `worst`."""
    every = evaluations(task, samples)
    noise = estimate(every, baseline, variant)
    row.intervals, row.resamples = noise.intervals, noise.resamples
    row.groups = by_group(every, samples.groups, baseline, variant)
    row.worst = furthest(every[0], baseline, variant, samples.spec.worst if samples.spec else None)
