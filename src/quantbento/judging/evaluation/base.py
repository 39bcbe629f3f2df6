"""What every kind of evaluation says: what is resampled, and what some of it measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbento.tasks.base import Arrays, Metric

Of = Callable[[np.ndarray], dict[str, float]]


@dataclass(frozen=True)
class Outcome:
    """What a model gave for the evaluation inputs: rows (`quantbento.tasks.rows`), and where the recipe asks for what
    needs them, the answers that people see."""

    rows: Arrays
    answers: list[Any] | None = None


class Evaluation(ABC):
    """Compares a variant's outcome with the baseline's.

    Attributes:
        metrics: what it measures, by name.
        has_groups: whether its samples are those that the recipe's `group` is a column of.
    """

    metrics: dict[str, Metric]
    has_groups: bool = True

    @abstractmethod
    def units(self, outcome: Outcome) -> int:
        """How many independent samples there are, which are drawn when noise is estimated."""

    @abstractmethod
    def resampler(self, baseline: Outcome, variant: Outcome) -> Of:
        """A function from drawn units, int64 and any of them several times, to their metrics."""

    def measure(self, baseline: Outcome, variant: Outcome) -> dict[str, float]:
        """The metrics of all units."""
        return self.resampler(baseline, variant)(np.arange(self.units(variant)))

    def of_samples(self, baseline: Outcome, variant: Outcome) -> Of:
        """A function from places of samples, each once, to their metrics; a sample is a unit, as a rule."""
        return self.resampler(baseline, variant)

    def distances(self, baseline: Outcome, variant: Outcome) -> np.ndarray | None:
        """How far each sample's result is from the baseline's, float64, zero or more; None where samples have no result
        of their own."""
        return None

    def shown(self, place: int, outcome: Outcome) -> tuple[Any, Any]:
        """A sample and a model's answer to it, for people to read."""
        raise NotImplementedError(f"{type(self).__name__} has no distances, so no samples to show")
