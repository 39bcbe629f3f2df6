"""The default kind: each item is a sample, and the metrics are the task's."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantbento.judging.evaluation.base import Evaluation, Of, Outcome
from quantbento.tasks.base import Arrays, Task
from quantbento.tasks.rows import row_distances
from quantbento.tasks.source import SampleSet


class Items(Evaluation):
    """A unit is an item. Items that belong together, such as the documents of one query, are one unit; of language
    models, a unit is a window of tokens."""

    def __init__(self, task: Task, samples: SampleSet) -> None:
        self.task, self.samples = task, samples
        self.metrics = task.metrics
        self.has_groups = samples.units is None

    def measure(self, baseline: Outcome, variant: Outcome) -> dict[str, float]:
        return self.task.compare(baseline.rows, variant.rows, self.samples.labels)

    def units(self, outcome: Outcome) -> int:
        return len(_members(outcome.rows, self.task.together))

    def resampler(self, baseline: Outcome, variant: Outcome) -> Of:
        together = self.task.together
        if together is None:
            return self.of_samples(baseline, variant)
        members, labels = _members(variant.rows, together), self.samples.labels

        def of(drawn: np.ndarray) -> dict[str, float]:
            places = np.concatenate([members[unit] for unit in drawn])
            # What is drawn twice is two units, not one of twice the size.
            number = np.repeat(np.arange(len(drawn)), [len(members[unit]) for unit in drawn])
            b, v = (_taken(o.rows, places) | {together: number} for o in (baseline, variant))
            return self.task.compare(b, v, None if labels is None else [labels[i] for i in places])

        return of

    def of_samples(self, baseline: Outcome, variant: Outcome) -> Of:
        return self.task.resampler(baseline.rows, variant.rows, self.samples.labels)

    def distances(self, baseline: Outcome, variant: Outcome) -> np.ndarray | None:
        """`row_distances`, where each item has a row."""
        if _count(variant.rows) != len(self.samples.inputs):
            return None
        return row_distances(*(_without(o.rows, self.task.together) for o in (baseline, variant)))

    def shown(self, place: int, outcome: Outcome) -> tuple[Any, Any]:
        return self.samples.inputs[place], outcome.answers[place] if outcome.answers is not None else None


def _count(rows: Arrays) -> int:
    return len(next(iter(rows.values())))


def _taken(rows: Arrays, places: np.ndarray) -> Arrays:
    return {name: values[places] for name, values in rows.items()}


def _without(rows: Arrays, name: str | None) -> Arrays:
    return {own: values for own, values in rows.items() if own != name}


def _members(rows: Arrays, together: str | None) -> list[np.ndarray]:
    """The places of each unit's rows."""
    if together is None:
        return list(np.arange(_count(rows))[:, None])
    numbers = rows[together]
    return [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
