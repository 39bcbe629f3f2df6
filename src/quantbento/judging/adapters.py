"""Variants judged with each of their LoRA adapters: the quantized model and the adapter against the full-precision
model and the same adapter. A variant passes a gate when the worst of them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quantbento.core.progress import Progress
from quantbento.judging.evaluate import answers, checked_rows, compare, recovery
from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.evaluation.kinds import evaluations
from quantbento.judging.noise import estimate
from quantbento.recipe.gates import GateResult
from quantbento.runtimes.loaded import LoadedModel
from quantbento.tasks.source import SampleSet

OF_MODEL = ("speedup", "size_ratio")  # adapters change neither


@dataclass(frozen=True)
class FullPrecision:
    """What the full-precision model gave with an adapter."""

    outcome: Outcome
    metrics: dict[str, float]


def of_baseline(
    baseline: LoadedModel, names: Sequence[str], samples: SampleSet, progress: Progress
) -> dict[str, FullPrecision]:
    """By adapter, what variants with it are compared with. `baseline` was loaded with its adapters.

    Raises:
        QuantbentoError: it does not run with one of them.
    """
    found = {}
    for name in names:
        with progress.stage(f"full precision with the adapter {name}"):
            outcome = _outcome(baseline, name, samples, f"the full-precision model with the adapter {name!r}")
            metrics = compare(baseline.task, outcome.rows, outcome.rows, samples, outcome.answers)
            found[name] = FullPrecision(outcome, metrics)
    return found


def examine(
    variant: LoadedModel, name: str, full: FullPrecision, samples: SampleSet, better: Mapping[str, int]
) -> dict[str, Any]:
    """An entry of `VariantRow.adapters`: `metrics`, those of the `baseline` with the adapter, `recovery`, `intervals`
    and `kl`, as a row has them.

    Raises:
        QuantbentoError: the variant does not run with the adapter.
    """
    task = variant.task
    own = _outcome(variant, name, samples, f"the variant with the adapter {name!r}")
    metrics = compare(task, full.outcome.rows, own.rows, samples, own.answers)
    return {
        "metrics": metrics,
        "baseline": full.metrics,
        "recovery": recovery(metrics, full.metrics, dict(better)),
        "intervals": estimate(evaluations(task, samples), full.outcome, own).intervals,
        "kl": task.divergence(full.outcome.rows, own.rows),
    }


def worst(alone: Sequence[GateResult], with_adapters: Mapping[str, Sequence[GateResult]]) -> list[GateResult]:
    """The worst result of each gate, with the adapter's name where that is one's.

    Args:
        alone: of the model without an adapter.
        with_adapters: of each adapter, for the same gates in the same order. What was measured of the model alone has
            no value there, and counts for all.
    """
    found = []
    for place, result in enumerate(alone):
        named = [replace(results[place], adapter=name) for name, results in with_adapters.items()]
        own = [] if result.metric in OF_MODEL else [other for other in named if other.value is not None]
        found.append(min([result, *own], key=_order))
    return found


def _order(result: GateResult) -> tuple[bool, float]:
    """Failed ones first, and of those with the same outcome the nearest to failing."""
    compared = result.value
    if result.confident and result.interval is not None:
        compared = result.interval[0 if result.is_least else 1]
    if compared is None:
        return result.passed, float("-inf")
    return result.passed, compared if result.is_least else -compared


def _outcome(model: LoadedModel, name: str, samples: SampleSet, who: str) -> Outcome:
    adapted = model.with_adapter(name)  # type: ignore[attr-defined]  # of the contract `tokens`, which alone has them
    return Outcome(checked_rows(adapted, samples, who), answers(adapted, samples))
