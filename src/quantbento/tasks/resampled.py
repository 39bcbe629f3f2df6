"""Metrics of resampled rows, hundreds of times: what all choices share is computed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantbento.tasks.metrics import MOST_COMPARED, decibels, unit_vectors
from quantbento.tasks.rows import holds_floats

Of = Callable[[np.ndarray], dict[str, float]]


def resampled_output_metrics(baseline: dict[str, np.ndarray], variant: dict[str, np.ndarray]) -> Of:
    """As `output_metrics`, of the rows at some places. Outputs may hold a million numbers per row: each row is summed
    once."""
    floats = [name for name in baseline if holds_floats(baseline[name])]
    others = [name for name in baseline if name not in floats]
    sums, equal = [], []
    for place in range(len(next(iter(baseline.values())))):
        b, v = ([np.ravel(rows[name][place]).astype(np.float64) for name in floats] for rows in (baseline, variant))
        apart = [one - other for one, other in zip(b, v, strict=True)]
        worst = max((float(np.abs(x).max(initial=0)) for x in apart), default=0.0)
        sums.append((sum(float(x @ x) for x in b), sum(float(x @ x) for x in apart), worst))
        same = [np.ravel(baseline[name][place]) == np.ravel(variant[name][place]) for name in others]
        equal.append((sum(int(x.sum()) for x in same), sum(x.size for x in same)))
    signal, noise, largest = np.array(sums).reshape(-1, 3).T
    right, count = np.array(equal).reshape(-1, 2).T

    def of(places: np.ndarray) -> dict[str, float]:
        metrics = {}
        if floats:
            lengths = (float(np.sqrt(squares[places].sum())) for squares in (signal, noise))
            metrics = {"sqnr_db": decibels(*lengths), "max_error": float(largest[places].max(initial=0))}
        if others:
            numbers = count[places].sum()
            metrics["agreement"] = float(right[places].sum() / numbers) if numbers else 1.0
        return metrics

    return of


def resampled_embedding_metrics(baseline: np.ndarray, variant: np.ndarray) -> Of:
    """As `embedding_metrics`, of the embeddings (items, width) at some places.

    A pair of an item with a copy of itself is left out: it is equally near in both models, and would say that they
    agree. All other pairs count as often as their items were drawn.
    """
    b, v = unit_vectors(baseline), unit_vectors(variant)
    cosine = (b * v).sum(1)
    most = min(len(b), MOST_COMPARED)
    if baseline is variant:  # itself, for the baseline's own metrics: nothing to sort
        return lambda places: {
            "mean_cosine": float(cosine[places].mean()),
            "min_cosine": float(cosine[places].min()),
            "similarity_spearman": 1.0,
        }
    left, right = np.triu_indices(most, k=1)
    ranks = [Ranks((x[:most] @ x[:most].T)[left, right]) for x in (b, v)]

    def of(places: np.ndarray) -> dict[str, float]:
        metrics = {"mean_cosine": float(cosine[places].mean()), "min_cosine": float(cosine[places].min())}
        counts = np.bincount(places, minlength=len(b))[:most].astype(np.float64)
        weights = counts[left] * counts[right]
        if np.count_nonzero(weights) > 1:
            metrics["similarity_spearman"] = weighted_correlation(ranks[0].of(weights), ranks[1].of(weights), weights)
        return metrics

    return of


class Ranks:
    """Ranks of values that are there several times each, ties with their mean rank; sorted once."""

    def __init__(self, values: np.ndarray) -> None:
        self._distinct, self._place = np.unique(values, return_inverse=True)

    def of(self, weights: np.ndarray) -> np.ndarray:
        """The rank of each value, where `weights` says how often it is there."""
        counts = np.bincount(self._place, weights, minlength=len(self._distinct))
        return (np.cumsum(counts) - (counts - 1) / 2)[self._place]


def weighted_correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Pearson's r of values that are there as often as `weights` says; of ranks, it is Spearman's rho. Of constant
    values: 1 where both are constant, else 0."""
    total = weights.sum()
    a, b = a - (a @ weights) / total, b - (b @ weights) / total
    spread_a, spread_b = weights @ (a * a), weights @ (b * b)
    if spread_a == 0 or spread_b == 0:
        return 1.0 if spread_a == spread_b else 0.0
    return float((weights @ (a * b)) / np.sqrt(spread_a * spread_b))
