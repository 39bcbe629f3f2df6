"""Compares a variant with the baseline: the same samples, each model in its own serving runtime."""

from __future__ import annotations

import math
from typing import Any

from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.evaluation.kinds import evaluations, needs_answers
from quantbento.runtimes.loaded import LoadedModel
from quantbento.tasks.base import Arrays, Task
from quantbento.tasks.rows import finite, shapes
from quantbento.tasks.source import SampleSet


def answers(model: LoadedModel, samples: SampleSet) -> list[Any] | None:
    """The answers to all samples; None where the recipe asks for nothing that needs them."""
    return model(samples.inputs) if needs_answers(samples.spec) else None


def checked_rows(predictor: LoadedModel, samples: SampleSet, who: str) -> Arrays:
    """The rows of all samples. `who` is what an error calls the model.

    Raises:
        QuantbentoError: the model does not run on them, or answers with NaN or infinity.
    """
    try:
        rows = predictor.rows(samples.inputs)
    except QuantbentoError:
        raise
    except Exception as error:  # from the engine: a layer that cannot run quantized, a graph with a fixed batch
        raise QuantbentoError(f"{who} does not run on the samples: {summary(error)}") from error
    _finite(rows, who)
    return rows


def evaluate(variant: LoadedModel, rows: Arrays, samples: SampleSet) -> dict[str, float]:
    """The metrics of a variant, given the baseline's rows.

    Raises:
        QuantbentoError: the variant does not run, or answers with NaN, infinity, or another shape.
    """
    own = checked_rows(variant, samples, "the variant")
    return compare(variant.task, rows, own, samples, answers(variant, samples))


def compare(
    task: Task, rows: Arrays, own: Arrays, samples: SampleSet, answered: list[Any] | None = None
) -> dict[str, float]:
    """The metrics of a variant's own rows, given the baseline's.

    Args:
        answered: the variant's answers. Without them, metrics of the user's that take answers are left out.

    Raises:
        QuantbentoError: they differ in name or shape, or a metric of the user's fails.
    """
    for name, expected in rows.items():
        if name not in own:
            raise QuantbentoError(f"the variant has no output {name!r}; it has {one_of(own)}")
        if (got := shapes(own[name])) != (wanted := shapes(expected)):
            raise QuantbentoError(
                f"the variant's output {name!r} is {_described(got)}; the baseline's is {_described(wanted)}"
            )
    found: dict[str, float] = {}
    for evaluation in evaluations(task, samples):
        found |= evaluation.measure(Outcome(rows), Outcome(own, answered))
    return found


def recovery(metrics: dict[str, float], baseline: dict[str, float], better: dict[str, int]) -> dict[str, float]:
    """Variant / baseline for each metric, or baseline / variant where smaller is better. A metric is left out if the
    baseline's value or the divisor is not above zero."""
    return {
        name: (value / baseline[name]) ** better[name]
        for name, value in metrics.items()
        if baseline.get(name, 0) > 0 and math.isfinite(value) and (better[name] > 0 or value > 0)
    }


def _described(shapes: list[tuple[int, ...]]) -> str:
    """`3 rows of shape (2,)`; several shapes where the rows have several."""
    return f"{len(shapes)} rows of shape {', '.join(map(str, dict.fromkeys(shapes)))}"


def _finite(rows: Arrays, who: str) -> None:
    for name, values in rows.items():
        bad = ~finite(values)
        if bad.any():
            raise QuantbentoError(
                f"{who} gives NaN or infinity in {name!r} for {int(bad.sum())} of {len(bad)} samples, "
                f"the first of them number {int(bad.argmax())}"
            )
