"""What the numbers of a sequence classifier mean, one class for each of Transformers' problem types."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.metrics import (
    class_indices,
    classification_metrics,
    label_sets,
    linear_correlation,
    multi_label_f1,
    rank_correlation,
)
from quantbento.tasks.probabilities import sigmoid, softmax

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]


class Head(ABC):
    """Logits to rows, rows to answers, and how right they are.

    Attributes:
        metrics: by name, as a task declares them.
        score_schema: of one number in an answer, for OpenAPI.
        labels: the names of the model's outputs.
    """

    problem_type: ClassVar[ProblemType]
    metrics: ClassVar[dict[str, Metric]]
    score_schema: ClassVar[dict[str, Any]] = {"type": "number", "minimum": 0, "maximum": 1}

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels

    @classmethod
    def measured(cls, outputs: int) -> dict[str, Metric]:
        """The metrics of a model with so many outputs."""
        return cls.metrics

    @abstractmethod
    def rows(self, logits: np.ndarray) -> Arrays:
        """Logits (texts, labels) to rows of one name."""

    @abstractmethod
    def answers(self, rows: Arrays) -> list[Any]:
        """One answer per text."""

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"label": {"type": "string"}, "score": self.score_schema}}

    @abstractmethod
    def wanted(self, labels: Sequence[Any]) -> np.ndarray:
        """The labels of samples as an array that `compare` takes.

        Raises:
            QuantbentoError: one of them means nothing to the model.
        """

    @abstractmethod
    def compare(self, baseline: Arrays, variant: Arrays, wanted: np.ndarray | None) -> dict[str, float]:
        """As `Task.compare`."""

    def _named(self, row: np.ndarray, places: Sequence[int]) -> list[dict[str, Any]]:
        return [{"label": self.labels[i], "score": float(row[i])} for i in places]


class SingleLabel(Head):
    """One of several labels: softmax. The answer is the most probable one."""

    problem_type = "single_label_classification"
    metrics = {
        "accuracy": Metric(+1, labelled=True),
        "f1": Metric(+1, labelled=True),  # of the second of two classes
        "f1_macro": Metric(+1, labelled=True),
        "mcc": Metric(+1, labelled=True),
        "agreement": Metric(+1),
        "max_probability_difference": Metric(-1, recovers=False, extreme=True),
    }

    @classmethod
    def measured(cls, outputs: int) -> dict[str, Metric]:
        return {name: metric for name, metric in cls.metrics.items() if name != "f1" or outputs == 2}

    def rows(self, logits: np.ndarray) -> Arrays:
        return {"probabilities": softmax(logits)}

    def answers(self, rows: Arrays) -> list[Any]:
        return [self._named(p, [int(p.argmax())])[0] for p in rows["probabilities"]]

    def wanted(self, labels: Sequence[Any]) -> np.ndarray:
        return class_indices(labels, self.labels)

    def compare(self, baseline: Arrays, variant: Arrays, wanted: np.ndarray | None) -> dict[str, float]:
        b, v = baseline["probabilities"], variant["probabilities"]
        return classification_metrics(b, v, wanted) | {"max_probability_difference": float(np.abs(b - v).max())}


class MultiLabel(Head):
    """Any number of labels: sigmoid. The answer is a list of those from `threshold` up, the most probable first."""

    problem_type = "multi_label_classification"
    metrics = {
        "f1_micro": Metric(+1, labelled=True),
        "f1_macro": Metric(+1, labelled=True),
        "accuracy": Metric(+1, labelled=True),  # of whole sets
        "agreement": Metric(+1),  # of single labels
        "max_probability_difference": Metric(-1, recovers=False, extreme=True),
    }

    def __init__(self, labels: list[str], threshold: float) -> None:
        super().__init__(labels)
        self.threshold = threshold

    def rows(self, logits: np.ndarray) -> Arrays:
        return {"probabilities": sigmoid(logits)}

    def answers(self, rows: Arrays) -> list[Any]:
        return [
            self._named(p, [int(i) for i in np.argsort(-p, kind="stable") if p[i] >= self.threshold])
            for p in rows["probabilities"]
        ]

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": super().answer_schema()}

    def wanted(self, labels: Sequence[Any]) -> np.ndarray:
        return label_sets(labels, self.labels)

    def compare(self, baseline: Arrays, variant: Arrays, wanted: np.ndarray | None) -> dict[str, float]:
        b, v = baseline["probabilities"], variant["probabilities"]
        found = v >= self.threshold
        metrics = {
            "agreement": float((found == (b >= self.threshold)).mean()),
            "max_probability_difference": float(np.abs(b - v).max()),
        }
        if wanted is not None:
            micro, macro = multi_label_f1(wanted, found)
            exact = float((found == wanted).all(axis=1).mean())
            metrics |= {"f1_micro": micro, "f1_macro": macro, "accuracy": exact}
        return metrics


class Regression(Head):
    """A number, or one for each label: the logits as they are."""

    problem_type = "regression"
    score_schema = {"type": "number"}
    metrics = {
        "pearson": Metric(+1, labelled=True),
        "spearman": Metric(+1, labelled=True),
        "mean_absolute_error": Metric(-1, labelled=True),
        "max_difference": Metric(-1, recovers=False, extreme=True),
    }

    def rows(self, logits: np.ndarray) -> Arrays:
        return {"values": logits.astype(np.float32, copy=False)}

    def answers(self, rows: Arrays) -> list[Any]:
        every = range(len(self.labels))
        return [self._named(v, every) if len(every) > 1 else self._named(v, every)[0] for v in rows["values"]]

    def answer_schema(self) -> dict[str, Any]:
        one = super().answer_schema()
        return one if len(self.labels) == 1 else {"type": "array", "items": one}

    def wanted(self, labels: Sequence[Any]) -> np.ndarray:
        try:
            return np.asarray(labels, np.float64).reshape(len(labels), len(self.labels))
        except (TypeError, ValueError):
            each = "a number" if len(self.labels) == 1 else f"{len(self.labels)} numbers"
            raise QuantbentoError(f"labels of a regression model are {each} for each sample") from None

    def compare(self, baseline: Arrays, variant: Arrays, wanted: np.ndarray | None) -> dict[str, float]:
        b, v = baseline["values"], variant["values"]
        metrics = {"max_difference": float(np.abs(b - v).max())}
        if wanted is not None:
            pairs = list(zip(v.T, wanted.T, strict=True))
            metrics |= {
                "pearson": float(np.mean([linear_correlation(*pair) for pair in pairs])),
                "spearman": float(np.mean([rank_correlation(*pair) for pair in pairs])),
                "mean_absolute_error": float(np.abs(v - wanted).mean()),
            }
        return metrics


HEADS: tuple[type[Head], ...] = (SingleLabel, MultiLabel, Regression)


def make_head(problem_type: ProblemType, labels: list[str], threshold: float) -> Head:
    """The head of a problem type; `threshold` is for one that gives any number of labels."""
    if problem_type == MultiLabel.problem_type:
        return MultiLabel(labels, threshold)
    return SingleLabel(labels) if problem_type == SingleLabel.problem_type else Regression(labels)
