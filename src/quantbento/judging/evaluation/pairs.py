"""Pairs of texts that people scored for how similar they are, as in the STS benchmark: the nearer the cosine similarity
of two embeddings follows the scores, the better (https://aclanthology.org/S17-2001)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantbento.judging.evaluation.base import Evaluation, Of, Outcome
from quantbento.recipe.evaluation import PAIR_FIELDS
from quantbento.tasks.base import Metric
from quantbento.tasks.metrics import linear_correlation, rank_correlation, unit_vectors
from quantbento.tasks.source import Pairs as Places
from quantbento.tasks.source import SampleSet

METRICS = {"spearman_cosine": Metric(+1, labelled=True), "pearson_cosine": Metric(+1, labelled=True)}
PRIMARY = tuple(METRICS)


class Pairs(Evaluation):
    """A unit is a pair. Metrics are named as by sentence-transformers' EmbeddingSimilarityEvaluator."""

    metrics = METRICS

    def __init__(self, samples: SampleSet, places: Places) -> None:
        self.samples, self.places = samples, places

    def units(self, outcome: Outcome) -> int:
        return len(self.places.scores)

    def resampler(self, baseline: Outcome, variant: Outcome) -> Of:
        similar, scores = self.similarities(variant), self.places.scores

        def of(drawn: np.ndarray) -> dict[str, float]:
            pair = similar[drawn], scores[drawn]
            return {"spearman_cosine": rank_correlation(*pair), "pearson_cosine": linear_correlation(*pair)}

        return of

    def similarities(self, outcome: Outcome) -> np.ndarray:
        """The cosine similarity of each pair, float64."""
        vectors = unit_vectors(outcome.rows["embedding"])
        return (vectors[self.places.left] * vectors[self.places.right]).sum(axis=1)

    def distances(self, baseline: Outcome, variant: Outcome) -> np.ndarray:
        """By how much the similarity differs."""
        return np.abs(self.similarities(baseline) - self.similarities(variant))

    def shown(self, place: int, outcome: Outcome) -> tuple[Any, Any]:
        """The two texts with their score, and their similarity."""
        texts = [self.samples.inputs[side[place]] for side in (self.places.left, self.places.right)]
        item = dict(zip(PAIR_FIELDS, [*texts, float(self.places.scores[place])], strict=True))
        return item, float(self.similarities(outcome)[place])
