"""What is wrong with how a recipe judges its variants, found before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError
from quantbento.judging.evaluation import own
from quantbento.judging.evaluation.kinds import METRICS, takes_texts
from quantbento.judging.noise import FEWEST_ROUNDS
from quantbento.making.inspection import Inspection
from quantbento.recipe import Gates, Recipe
from quantbento.recipe.document import Loc, Problem
from quantbento.recipe.gates import METRIC_RULES
from quantbento.tasks.base import Metric, Task
from quantbento.tasks.source import SampleSet

PLACE: Loc = ("evaluation",)


def inspect(found: Inspection, task: type[Task], evaluation: Any) -> None:
    """Reports kinds and keys that the task cannot be judged by; adds what gates may name."""
    given = evaluation if isinstance(evaluation, Mapping) else {}
    kind = given.get("kind", "items")
    if kind in ("pairs", "retrieval") and not takes_texts(task):
        told = f"kind {kind!r} compares embeddings of texts, which task {task.name!r} does not make"
        found.say((*PLACE, "kind"), f"{told} (feature-extraction does)")
    kinds_own = METRICS.get(kind, {}) if isinstance(kind, str) else {}
    found.more |= kinds_own
    if task.contract == "tokens":
        for key in {"group", "worst"} & given.keys():
            told = f"task {task.name!r} is judged on windows of tokens that are cut from all texts together"
            found.say((*PLACE, key), f"{told}; leave {key} out")
    functions = given.get("metrics")
    for name, spec in functions.items() if isinstance(functions, Mapping) else ():
        if name in task.metrics or name in kinds_own:
            found.say((*PLACE, "metrics", name), f"{name!r} is a metric of task {task.name!r}; choose another name")
        lower = isinstance(spec, Mapping) and spec.get("better") == "lower"
        found.more[str(name)] = Metric(-1 if lower else +1)


def confident(found: Inspection, recipe: Recipe, task: type[Task], variants: Iterable[tuple[Loc, Gates]]) -> None:
    """Reports gates that ask for an interval of what has none.

    Args:
        variants: the place of each variant, and its gates with the recipe's.
    """
    known, settings = {**task.metrics, **found.more}, recipe.benchmark
    for place, gates in variants:
        if not gates.confident:
            continue
        where = (*place, "gates")
        for metric in dict.fromkeys(name for rule in METRIC_RULES for name in getattr(gates, rule)):
            if "." in metric:
                found.say(where, f"confident: {metric!r} has no interval; leave it out")
            elif metric in known and known[metric].extreme:
                told = f"{metric!r} is decided by one sample, and resampling tells nothing about it"
                found.say(where, f"confident: {told}; use the metric of all samples, or leave confident out")
        if gates.min_speedup is not None and (settings.rounds < FEWEST_ROUNDS or not settings.paired):
            told = f"min_speedup needs benchmark: {{rounds: {FEWEST_ROUNDS}}} or more, and paired: true"
            found.say(where, f"confident: {told}")


def problems(recipe: Recipe, task: type[Task], samples: SampleSet | None, call: bool) -> list[Problem]:
    """Metrics of the user's that do not exist; with `call`, also those that cannot take what they would get.

    Args:
        samples: None where they could not be read.
    """
    found = []
    for name, metric in recipe.evaluation.metrics.items():
        place = (*PLACE, "metrics", name)
        try:
            if call:
                told = own.problem(metric, task, samples)
                found += [Problem(place, told)] if told else []
            else:
                user_code.identity(metric.function)
        except QuantbentoError as error:
            found.append(Problem(place, str(error)))
    return found
