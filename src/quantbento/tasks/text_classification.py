"""Texts to labels or numbers, as the Transformers pipeline answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from quantbento.core.errors import QuantbentoError, one_of
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.heads import HEADS, Head, MultiLabel, ProblemType, Regression, SingleLabel, make_head
from quantbento.tasks.labels import config_labels, model_labels
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.text import TextInputs, TextOptions, TextTask
from quantbento.tasks.text_ranking import TextRanking

logger = logging.getLogger("quantbento")
THRESHOLD = 0.5


class TextClassificationOptions(TextOptions):
    labels: list[str] | None = Field(None, description="names of the model's outputs; its configuration's by default")
    problem_type: ProblemType | None = Field(None, description="what the outputs mean, as the configuration says it")
    threshold: float | None = Field(
        None, ge=0, le=1, description=f"multi-label: the least score of an answered label; {THRESHOLD} by default"
    )


class TextClassification(TextTask):
    """What is answered and measured goes by the model's `problem_type`: see `quantbento.tasks.heads`."""

    name = "text-classification"
    Options = TextClassificationOptions
    metrics = {name: metric for head in HEADS for name, metric in head.metrics.items()}
    primary = ("f1_micro", "accuracy", "spearman", "agreement", "max_difference")
    auto_class = "AutoModelForSequenceClassification"
    output_names = ["logits"]

    def __init__(self, text: TextInputs, head: Head) -> None:
        self.text, self.head = text, head
        self.input_names = text.names

    @classmethod
    def suits(cls, config: dict[str, Any]) -> bool:
        return not TextRanking.suits(config)

    @classmethod
    def measured(cls, config: dict[str, Any]) -> dict[str, Metric]:
        kind = Regression if config_labels(config) == 1 else SingleLabel
        given = config.get("problem_type")
        return next((head for head in HEADS if head.problem_type == given), kind).measured(config_labels(config))

    @classmethod
    def create(cls, source: SourceModel, options: TextClassificationOptions, samples: SampleSet) -> Self:
        text = TextInputs.create(source, options)
        labels = model_labels(source, options.labels)
        problem = _problem_type(source, options, len(labels))
        if options.threshold is not None and problem != MultiLabel.problem_type:
            raise QuantbentoError(
                f"task_options.threshold is for {MultiLabel.problem_type}; this model is for {problem}, where it would "
                "have no effect"
            )
        head = make_head(problem, labels, THRESHOLD if options.threshold is None else options.threshold)
        if samples.labels is not None:
            head.wanted(samples.labels)  # a label the model does not have is an error now, not a metric of 0
        return cls(text, head)

    def save(self, folder: Path) -> dict[str, Any]:
        head: dict[str, Any] = {"problem_type": self.head.problem_type, "labels": self.head.labels}
        head |= {"threshold": self.head.threshold} if isinstance(self.head, MultiLabel) else {}
        return {"text": self.text.save(folder), **head}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        problem = config.get("problem_type")
        if problem is None:  # stored by version 0.2 or earlier, which knew these two
            problem = MultiLabel.problem_type if config["multi_label"] else SingleLabel.problem_type
        head = make_head(problem, config["labels"], config.get("threshold", THRESHOLD))
        return cls(TextInputs.load(folder, config["text"]), head)

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Logits (texts, labels) to the head's rows, (texts, labels)."""
        return self.head.rows(outputs["logits"])

    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[Any]:
        """`{"label": ..., "score": ...}` per text: the most probable label, or a regression's number. Of a model with
        several labels per text, a list of these: the labels from the threshold up, the most probable first."""
        return self.head.answers(rows)

    def answer_schema(self) -> dict[str, Any]:
        return self.head.answer_schema()

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        return self.head.compare(baseline, variant, None if labels is None else self.head.wanted(labels))


def _problem_type(source: SourceModel, options: TextClassificationOptions, outputs: int) -> ProblemType:
    """The recipe's, else the configuration's, else what Transformers makes of the number of outputs.

    Raises:
        QuantbentoError: it is none that there is, or one output is to be a choice among several.
    """
    config: Any = source.module.config  # type: ignore[union-attr]
    problem = options.problem_type or config.problem_type
    if problem is None and outputs == 1:
        logger.warning(
            "%s has one output and no problem_type: it is taken for a regression. For a reranker use task text-ranking",
            source.folder,
        )
    problem = problem or (Regression.problem_type if outputs == 1 else SingleLabel.problem_type)
    if problem not in (known := [head.problem_type for head in HEADS]):
        raise QuantbentoError(f"{source.folder}: unknown problem_type {problem!r}; allowed are {one_of(known)}")
    if problem == SingleLabel.problem_type and outputs == 1:
        raise QuantbentoError(
            f"{source.folder} has one output: {problem} needs two or more. For a regression set problem_type: "
            f"{Regression.problem_type} under task_options; for a reranker use task text-ranking"
        )
    return problem
