"""Texts to a label and its probability, as the Transformers pipeline answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.metrics import class_indices, classification_metrics
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.text import TextInputs, TextOptions, TextTask, read_json


class TextClassificationOptions(TextOptions):
    labels: list[str] | None = None


class TextClassification(TextTask):
    name = "text-classification"
    Options = TextClassificationOptions
    metrics = {
        "accuracy": Metric(+1),
        "agreement": Metric(+1),
        "max_probability_difference": Metric(-1, recovers=False),
    }
    primary = ("accuracy", "agreement")
    auto_class = "AutoModelForSequenceClassification"
    output_names = ["logits"]

    def __init__(self, text: TextInputs, labels: list[str], multi_label: bool) -> None:
        self.text, self.labels, self.multi_label = text, labels, multi_label
        self.input_names = text.names

    @classmethod
    def create(cls, source: SourceModel, options: TextClassificationOptions, samples: SampleSet) -> Self:
        text = TextInputs.create(source, options)
        assert source.folder is not None and source.module is not None
        config: Any = source.module.config
        labels: list[str] = [config.id2label[i] for i in range(config.num_labels)]
        if options.labels:
            if len(options.labels) != len(labels):
                raise QuantbentoError(
                    f"task_options.labels has {len(options.labels)} names; the model has {len(labels)}"
                )
            labels = options.labels
        if len(labels) < 2:
            raise QuantbentoError(
                f"{source.folder} is a regression model (one label); text-classification needs two or more"
            )
        problem = read_json(source.folder / "config.json").get("problem_type")
        task = cls(text, labels, problem == "multi_label_classification")
        if samples.labels is not None:
            class_indices(samples.labels, labels)  # a label the model does not have is an error now, not a metric of 0
        return task

    def save(self, folder: Path) -> dict[str, Any]:
        return {"text": self.text.save(folder), "labels": self.labels, "multi_label": self.multi_label}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(TextInputs.load(folder, config["text"]), config["labels"], config["multi_label"])

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Logits (texts, labels) to probabilities."""
        logits = outputs["logits"].astype(np.float32, copy=False)
        if self.multi_label:
            return {"probabilities": 1 / (1 + np.exp(-logits))}
        e = np.exp(logits - logits.max(-1, keepdims=True))
        return {"probabilities": e / e.sum(-1, keepdims=True)}

    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[dict[str, Any]]:
        """One `{"label": ..., "score": ...}` per text: the most probable label."""
        return [{"label": self.labels[int(p.argmax())], "score": float(p.max())} for p in rows["probabilities"]]

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"label": {"type": "string"}, "score": {"type": "number"}}}

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        b, v = baseline["probabilities"], variant["probabilities"]
        metrics = classification_metrics(b, v, None if labels is None else class_indices(labels, self.labels))
        return metrics | {"max_probability_difference": float(np.abs(b - v).max())}
