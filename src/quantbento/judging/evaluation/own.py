"""The user's own metrics: functions that say by the names of their parameters what they want.

def exact(answers, labels):
    return sum(a["label"] == label for a, label in zip(answers, labels)) / len(labels)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError, one_of
from quantbento.judging.evaluation.base import Evaluation, Of, Outcome
from quantbento.recipe.evaluation import OwnMetric
from quantbento.tasks.base import Arrays, Metric, Task
from quantbento.tasks.source import SampleSet

PARAMETERS = ("answers", "labels", "inputs", "rows")


def declared(spec: dict[str, OwnMetric]) -> dict[str, Metric]:
    """The metrics by name, as a task declares its own."""
    return {name: Metric(+1 if own.better == "higher" else -1) for name, own in spec.items()}


def problem(own: OwnMetric, task: type[Task], samples: SampleSet | None) -> str | None:
    """Why a function cannot be called on the samples; None where it can. It is not called.

    Raises:
        QuantbentoError: there is no such function.
    """
    wanted = _parameters(own)
    if unknown := [name for name in wanted if name not in PARAMETERS]:
        return f"{own.function!r} takes {one_of(unknown)}; a metric's parameters are any of {one_of(PARAMETERS)}"
    if not wanted:
        return f"{own.function!r} takes nothing; a metric's parameters are any of {one_of(PARAMETERS)}"
    if "rows" in wanted and task.contract == "tokens":
        return f"{own.function!r} takes rows, but task {task.name!r} has them of windows of tokens; take answers"
    if "labels" in wanted and samples is not None and samples.labels is None:
        return f"{own.function!r} takes labels, which the evaluation samples do not have"
    return None


class Own(Evaluation):
    """A unit is an input. Each function gets, of the same inputs in the same order:

    - `answers`: what a call of the model returns, as a service answers it
    - `labels`: as the samples have them
    - `inputs`: the samples
    - `rows`: what the task's metrics are computed from: arrays by name, one row for each input
    """

    def __init__(self, spec: dict[str, OwnMetric], samples: SampleSet) -> None:
        self.spec, self.samples = spec, samples
        self.metrics = declared(spec)
        self._wanted = {name: _parameters(own) for name, own in spec.items()}

    def units(self, outcome: Outcome) -> int:
        return len(self.samples.inputs)

    def measure(self, baseline: Outcome, variant: Outcome) -> dict[str, float]:
        """
        Raises:
            QuantbentoError: a function fails, or returns no finite number.
        """
        return {name: self._call(name, variant, None) for name in self._possible(variant)}

    def resampler(self, baseline: Outcome, variant: Outcome) -> Of:
        possible = self._possible(variant)

        def of(drawn: np.ndarray) -> dict[str, float]:
            found = {}
            for name in possible:
                try:
                    found[name] = self._call(name, variant, drawn)
                except QuantbentoError:
                    continue  # it may not be defined for all choices, as where no sample of a class was drawn
            return found

        return of

    def _possible(self, outcome: Outcome) -> list[str]:
        return [name for name, wanted in self._wanted.items() if outcome.answers is not None or "answers" not in wanted]

    def _call(self, name: str, outcome: Outcome, drawn: np.ndarray | None) -> float:
        function = self.spec[name].function
        every = {"answers": outcome.answers, "labels": self.samples.labels, "inputs": self.samples.inputs}
        given: dict[str, Any] = {key: _taken(every[key], drawn) for key in self._wanted[name] if key != "rows"}
        if "rows" in self._wanted[name]:
            given["rows"] = _taken_rows(outcome.rows, drawn)
        value = user_code.call(function, **given)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise QuantbentoError(f"the metric {name!r}: {function!r} must return a finite number, not {value!r}")
        return number


def _parameters(own: OwnMetric) -> list[str]:
    function = user_code.resolve(own.function)
    if not callable(function):
        raise QuantbentoError(f"{own.function!r} is a {type(function).__name__}, not a function")
    kept = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in kept and (p.name in PARAMETERS or p.default is p.empty)]


def _taken(values: Sequence[Any] | None, drawn: np.ndarray | None) -> list[Any] | None:
    if values is None:
        return None
    return list(values) if drawn is None else [values[i] for i in drawn]


def _taken_rows(rows: Arrays, drawn: np.ndarray | None) -> Arrays:
    return dict(rows) if drawn is None else {name: values[drawn] for name, values in rows.items()}
