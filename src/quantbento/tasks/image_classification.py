"""Images to the most probable labels, as the Transformers pipeline answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import Field

from quantbento.core.errors import InvalidInput, QuantbentoError, one_of
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.heads import Head, MultiLabel, SingleLabel, make_head
from quantbento.tasks.image.processor import ImageProcessor
from quantbento.tasks.image.reading import read_processor
from quantbento.tasks.image.task import ImageOptions, ImageTask, check_takes_images, image_arguments
from quantbento.tasks.labels import config_labels, model_labels
from quantbento.tasks.source import SampleSet, SourceModel

HEADS: tuple[type[Head], ...] = (SingleLabel, MultiLabel)
TOP = 5
TOP_ACCURACY = f"top{TOP}_accuracy"


class ImageClassificationOptions(ImageOptions):
    labels: list[str] | None = Field(None, description="names of the model's outputs; its configuration's by default")
    top_k: int = Field(TOP, ge=1, description="labels in an answer; a request can ask for others")


class Wanted(NamedTuple):
    """A checked item: what the model sees, and how many labels the answer has."""

    pixels: np.ndarray
    top_k: int


class ImageClassification(ImageTask):
    """Items are images, or `{"image": ..., "top_k": ...}`."""

    name = "image-classification"
    Options = ImageClassificationOptions
    metrics = {
        **{name: metric for head in HEADS for name, metric in head.metrics.items()},
        TOP_ACCURACY: Metric(+1, labelled=True),
    }
    primary = ("f1_micro", "accuracy", "agreement")
    auto_class = "AutoModelForImageClassification"
    output_names = ["logits"]

    def __init__(self, processor: ImageProcessor, max_pixels: int, head: Head, top_k: int) -> None:
        super().__init__(processor, max_pixels)
        self.head, self.top_k = head, top_k

    @classmethod
    def measured(cls, config: dict[str, Any]) -> dict[str, Metric]:
        if config.get("problem_type") == MultiLabel.problem_type:
            return MultiLabel.metrics
        top = {TOP_ACCURACY: cls.metrics[TOP_ACCURACY]} if config_labels(config) > TOP else {}
        return SingleLabel.measured(config_labels(config)) | top

    @classmethod
    def create(cls, source: SourceModel, options: ImageClassificationOptions, samples: SampleSet) -> Self:
        processor = read_processor(source)
        logits = check_takes_images(source, processor)["logits"]
        labels = model_labels(source, options.labels)
        if logits.shape[1:] != (len(labels),):
            raise QuantbentoError(
                f"{source.folder} names {len(labels)} labels, and the model has {logits.shape[-1]} outputs; correct "
                "id2label in its config.json"
            )
        config: Any = source.module.config  # type: ignore[union-attr]
        problem = config.problem_type or SingleLabel.problem_type
        known = [head.problem_type for head in HEADS]
        if len(labels) == 1 or problem not in known:
            raise QuantbentoError(
                f"{source.folder} is a model for {problem} with {len(labels)} outputs; image-classification needs two "
                f"or more, and {one_of(known)}. Use task tensor with a preprocess function of your own"
            )
        head = make_head(problem, labels, threshold=0.5)  # of the metrics; answers are the best ones
        if samples.labels is not None:
            head.wanted(samples.labels)  # a label the model does not have is an error now, not a metric of 0
        return cls(processor, options.max_pixels, head, options.top_k)

    def save(self, folder: Path) -> dict[str, Any]:
        head = {"problem_type": self.head.problem_type, "labels": self.head.labels}
        return {**self.image_config(), **head, "top_k": self.top_k}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        head = make_head(config["problem_type"], config["labels"], threshold=0.5)
        return cls(*image_arguments(config), head, config["top_k"])

    def check(self, item: Any) -> Wanted:
        top_k = self.top_k
        if isinstance(item, dict):
            if item.keys() != {"image", "top_k"}:
                raise InvalidInput('must be an image, or {"image": ..., "top_k": ...}')
            item, top_k = item["image"], item["top_k"]
            if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
                raise InvalidInput(f"top_k must be a whole number from 1 up, not {top_k!r}")
        return Wanted(super().check(item), top_k)

    def encode(self, item: Wanted) -> np.ndarray:
        return item.pixels

    def difficult(self, checked: Sequence[Wanted]) -> dict[str, list[Any]]:
        return super().difficult([item.pixels for item in checked])

    def examples(self) -> list[Wanted]:
        return [Wanted(pixels, self.top_k) for pixels in super().examples()]

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Logits (images, labels) to probabilities of the same shape."""
        return self.head.rows(outputs["logits"])

    def answers(self, rows: Arrays, items: Sequence[Wanted]) -> list[list[dict[str, Any]]]:
        """`[{"label": ..., "score": ...}, ...]` per image: the most probable labels, the best first."""
        labels = self.head.labels
        best = (np.argsort(-p, kind="stable")[: i.top_k] for p, i in zip(rows["probabilities"], items, strict=True))
        return [
            [{"label": labels[i], "score": float(p[i])} for i in places]
            for p, places in zip(rows["probabilities"], best, strict=True)
        ]

    def answer_schema(self) -> dict[str, Any]:
        one = {"type": "object", "properties": {"label": {"type": "string"}, "score": {"type": "number"}}}
        return {"type": "array", "items": one}

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        wanted = None if labels is None else self.head.wanted(labels)
        metrics = self.head.compare(baseline, variant, wanted)
        if wanted is not None and isinstance(self.head, SingleLabel) and len(self.head.labels) > TOP:
            best = np.argsort(-variant["probabilities"], axis=-1, kind="stable")[:, :TOP]
            metrics[TOP_ACCURACY] = float((best == wanted[:, None]).any(axis=1).mean())
        return metrics
