"""A task of a user's own, with a model that takes two arrays: how well a document fits a query, both as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from quantbento.core.errors import InvalidInput
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays, Metric

WIDTH = 3


class Ranking(ArrayTask):
    name = "ranking"
    metrics = {"max_error": Metric(-1, recovers=False)}
    primary = ("max_error",)
    input_names = ["query", "document"]
    output_names = ["score"]

    @classmethod
    def create(cls, source: Any, options: Any, samples: Any) -> Self:
        return cls()

    def save(self, folder: Path) -> dict[str, Any]:
        return {}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls()

    def check(self, item: Any) -> np.ndarray:
        pair = np.asarray(item, np.float32)
        if pair.shape != (2, WIDTH):
            raise InvalidInput(f"must be a query and a document of {WIDTH} numbers each, not {pair.shape}")
        return pair

    def encode(self, item: np.ndarray) -> np.ndarray:
        return item

    def collate(self, encoded: Sequence[np.ndarray]) -> Arrays:
        query, document = np.stack(encoded, axis=1)
        return {"query": query, "document": document}

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        return outputs

    def answers(self, rows: Arrays, items: Any) -> list[dict[str, float]]:
        return [{"score": float(score)} for score in rows["score"]]

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        return {"max_error": float(np.abs(baseline["score"] - variant["score"]).max())}

    def examples(self) -> list[np.ndarray]:
        return [np.ones((2, WIDTH), np.float32)]

    def item_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"score": {"type": "number"}}}
