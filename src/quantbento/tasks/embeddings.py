"""What tasks whose answers are embeddings share: metrics, answers, and their schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.metrics import embedding_metrics
from quantbento.tasks.resampled import resampled_embedding_metrics


class EmbeddingTask(ArrayTask):
    """`postprocess` gives the output `embedding`, float32 of shape (inputs, width)."""

    metrics = {
        "mean_cosine": Metric(+1),
        "min_cosine": Metric(+1, extreme=True),
        "similarity_spearman": Metric(+1),
    }
    primary = ("mean_cosine",)
    auto_class = "AutoModel"

    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[np.ndarray]:
        """One float32 vector per input."""
        return list(rows["embedding"])

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "number"}}

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        return embedding_metrics(baseline["embedding"], variant["embedding"])

    def resampler(
        self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None
    ) -> Callable[[np.ndarray], dict[str, float]]:
        return resampled_embedding_metrics(baseline["embedding"], variant["embedding"])


def normalized(vectors: np.ndarray) -> np.ndarray:
    """The vectors (inputs, width), each divided by its Euclidean length."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
