"""Which evaluations a recipe asks for: the kind it names, the task's metrics, and the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantbento.judging.evaluation import own, pairs, retrieval
from quantbento.judging.evaluation.base import Evaluation
from quantbento.judging.evaluation.items import Items
from quantbento.judging.evaluation.own import Own
from quantbento.judging.evaluation.pairs import Pairs
from quantbento.judging.evaluation.retrieval import Retrieval
from quantbento.recipe import Evaluation as Spec
from quantbento.tasks.base import Metric, Task
from quantbento.tasks.source import Judgements, SampleSet
from quantbento.tasks.source import Pairs as Places

METRICS: dict[str, dict[str, Metric]] = {"items": {}, "pairs": pairs.METRICS, "retrieval": retrieval.METRICS}
PRIMARY: dict[str, tuple[str, ...]] = {"items": (), "pairs": pairs.PRIMARY, "retrieval": retrieval.PRIMARY}


def evaluations(task: Task, samples: SampleSet) -> list[Evaluation]:
    """The evaluations, the first of them of the kind that the recipe names."""
    found: list[Evaluation] = [Items(task, samples)]
    if isinstance(samples.units, Places):
        found.insert(0, Pairs(samples, samples.units))
    if isinstance(samples.units, Judgements):
        found.insert(0, Retrieval(samples, samples.units))
    if samples.spec is not None and samples.spec.metrics:
        found.append(Own(samples.spec.metrics, samples))
    return found


def metrics(task: type[Task] | Task, spec: Spec | None) -> dict[str, Metric]:
    """All that is measured, by name; gates may name these."""
    if spec is None:
        return dict(task.metrics)
    return {**METRICS[spec.kind], **task.metrics, **own.declared(spec.metrics)}


def primary(task: type[Task] | Task, spec: Spec | None) -> Sequence[str]:
    """What the summary shows: the first of these that was measured."""
    return (*(PRIMARY[spec.kind] if spec is not None else ()), *task.primary)


def needs_answers(spec: Spec | None) -> bool:
    """Whether the models' answers are needed beside their rows."""
    return spec is not None and spec.kind == "items" and bool(spec.metrics or spec.worst)


def takes_texts(task: Any) -> bool:
    """Whether pairs and retrieval can be judged: it makes an embedding of a text."""
    from quantbento.tasks.embeddings import EmbeddingTask

    return isinstance(task, type) and issubclass(task, EmbeddingTask) and task.fields == ("text",) and not task.suffixes
