"""Queries and the documents that are relevant to them, as in BEIR (https://arxiv.org/abs/2104.08663): documents are
ranked by the cosine similarity of their embeddings with the query's."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantbento.judging.evaluation.base import Evaluation, Of, Outcome
from quantbento.tasks.base import Metric
from quantbento.tasks.metrics import unit_vectors
from quantbento.tasks.source import Judgements, SampleSet

TOP = 10  # documents that count
METRICS = {f"{name}_{TOP}": Metric(+1, labelled=True) for name in ("ndcg", "recall", "mrr")}
PRIMARY = (f"ndcg_{TOP}",)
CHUNK = 256  # queries whose similarities with all documents are in memory at once


class Retrieval(Evaluation):
    """A unit is a query. For each:

    - `ndcg_10`: the sum of relevance / log2(rank + 1) over the first ten documents, divided by that of the best ranking
      (as trec_eval's `ndcg_cut`)
    - `recall_10`: the share of the relevant documents that is among the first ten
    - `mrr_10`: 1 / rank of the first relevant document, 0 where none is among the first ten
    """

    metrics = METRICS

    def __init__(self, samples: SampleSet, judged: Judgements) -> None:
        self.samples, self.judged = samples, judged

    def units(self, outcome: Outcome) -> int:
        return self.judged.queries

    def resampler(self, baseline: Outcome, variant: Outcome) -> Of:
        figures = self._figures(self.first(variant))

        def of(drawn: np.ndarray) -> dict[str, float]:
            return dict(zip(METRICS, figures[drawn].mean(axis=0).tolist(), strict=True))

        return of

    def first(self, outcome: Outcome) -> np.ndarray:
        """The places of the nearest documents of each query, the nearest first, (queries, up to 10). Of equally near
        ones, the first of the corpus comes first."""
        vectors, count = unit_vectors(outcome.rows["embedding"]), self.judged.queries
        queries, documents = vectors[:count], vectors[count:]
        parts = []
        for start in range(0, count, CHUNK):
            similar = queries[start : start + CHUNK] @ documents.T
            parts.append(np.argsort(-similar, axis=1, kind="stable")[:, :TOP])
        return np.concatenate(parts)

    def _figures(self, first: np.ndarray) -> np.ndarray:
        """NDCG, recall and reciprocal rank of each query, (queries, 3)."""
        discounts = 1 / np.log2(np.arange(2, TOP + 2))
        figures = np.zeros((len(first), 3))
        for row, places, relevance in zip(figures, first, self.judged.relevance, strict=True):
            gains = np.asarray([relevance.get(int(place), 0.0) for place in places])
            best = np.sort(np.asarray(list(relevance.values())))[::-1][:TOP]
            found = np.flatnonzero(gains)
            row[0] = (gains @ discounts[: len(gains)]) / (best @ discounts[: len(best)])
            row[1] = len(found) / len(relevance)
            row[2] = 1 / (found[0] + 1) if len(found) else 0.0
        return figures

    def distances(self, baseline: Outcome, variant: Outcome) -> np.ndarray:
        """The share of the baseline's first ten documents that the variant does not have among its own."""
        pairs = zip(self.first(baseline), self.first(variant), strict=True)
        return np.asarray([1 - len(np.intersect1d(b, v)) / len(b) for b, v in pairs])

    def shown(self, place: int, outcome: Outcome) -> tuple[Any, Any]:
        """The query, and the ids of the first documents."""
        return self.samples.inputs[place], [self.judged.documents[i] for i in self.first(outcome)[place]]
