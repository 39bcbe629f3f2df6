"""Formulas that several tasks use. All take and return plain arrays and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError, one_of
from quantbento.tasks.rows import flat, holds_floats

# What sqnr_db returns for equal signals: finite, so that JSON can hold it, and out of any quantizer's reach.
SQNR_CEILING = 200.0
MOST_COMPARED = 2000  # embeddings of which all pairs are compared: two million


def sqnr_db(signal: np.ndarray, noisy: np.ndarray) -> float:
    """Signal to quantization noise ratio, 20 log10(|signal| / |signal - noisy|), in dB; higher is better."""
    s, n = signal.astype(np.float64), noisy.astype(np.float64)
    return decibels(float(np.linalg.norm(s)), float(np.linalg.norm(s - n)))


def decibels(signal: float, noise: float) -> float:
    """20 log10(signal / noise) of two lengths, at most `SQNR_CEILING` and at least its negative."""
    if noise == 0:
        return SQNR_CEILING
    if signal == 0:
        return -SQNR_CEILING
    return min(SQNR_CEILING, 20 * float(np.log10(signal / noise)))


def output_metrics(baseline: dict[str, np.ndarray], variant: dict[str, np.ndarray]) -> dict[str, float]:
    """How far two sets of rows by output name, of the same shapes, are apart.

    Returns:
        `sqnr_db` and `max_error` over all numbers of the float outputs, and `agreement`, the share of equal values,
        over all of the others: integers and booleans are right or wrong. Each only where there are such outputs.
    """
    metrics = {}
    if floats := [name for name in baseline if holds_floats(baseline[name])]:
        b, v = (np.concatenate([flat(rows[name]) for name in floats]) for rows in (baseline, variant))
        metrics = {"sqnr_db": sqnr_db(b, v), "max_error": float(np.abs(b - v).max(initial=0))}
    if others := [name for name in baseline if name not in floats]:
        equal = np.concatenate([flat(baseline[name]) == flat(variant[name]) for name in others])
        metrics["agreement"] = float(equal.mean()) if len(equal) else 1.0
    return metrics


def embedding_metrics(baseline: np.ndarray, variant: np.ndarray) -> dict[str, float]:
    """How near the embeddings of a variant, (items, width), are to the baseline's: the cosine of each to its own, and
    where there are three or more, Spearman's rho of the similarities of all pairs, of the first `MOST_COMPARED`."""
    b, v = unit_vectors(baseline), unit_vectors(variant)
    cosine = (b * v).sum(1)
    b, v = b[:MOST_COMPARED], v[:MOST_COMPARED]
    above = np.triu_indices(len(b), k=1)
    metrics = {"mean_cosine": float(cosine.mean()), "min_cosine": float(cosine.min())}
    if len(above[0]) > 1:
        metrics["similarity_spearman"] = rank_correlation((b @ b.T)[above], (v @ v.T)[above])
    return metrics


def unit_vectors(x: np.ndarray) -> np.ndarray:
    """The vectors (items, width) as float64 of length 1; zeros stay zeros."""
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho of two lists of values; ties get their mean rank."""
    ra, rb = _ranks(a), _ranks(b)
    if ra.std() == 0 or rb.std() == 0:
        return 1.0 if np.array_equal(ra, rb) else 0.0
    return float(np.corrcoef(ra, rb)[0, 1])


def linear_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two lists of values; of a constant one: 1 where both are the same, else 0."""
    if np.std(a) == 0 or np.std(b) == 0:
        return 1.0 if np.array_equal(a, b) else 0.0
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def classification_metrics(baseline: np.ndarray, variant: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
    """Top-1 agreement of two score arrays (samples, classes), and where labels are given, how right the variant is:
    `accuracy`, `f1_macro`, `mcc`, and of two classes `f1`, the second's."""
    top_b, top_v = baseline.argmax(-1), variant.argmax(-1)
    metrics = {"agreement": float((top_b == top_v).mean())}
    if labels is not None:
        counts = confusion(labels, top_v)
        metrics["accuracy"] = float((top_v == labels).mean())
        metrics |= {"f1_macro": macro_f1(counts), "mcc": matthews(counts)}
        if variant.shape[-1] == 2:
            second = (labels == 1, top_v == 1)
            metrics["f1"] = float(2 * (second[0] & second[1]).sum() / max(second[0].sum() + second[1].sum(), 1))
    return metrics


def confusion(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """How often each class was wanted and found, int64 (wanted, found), of two lists of integers. Only classes that
    are there at least once have a row and a column."""
    there, places = np.unique(np.concatenate([wanted, found]), return_inverse=True)
    places = places.reshape(2, -1)
    return np.bincount(places[0] * len(there) + places[1], minlength=len(there) ** 2).reshape(len(there), len(there))


def macro_f1(counts: np.ndarray) -> float:
    """The mean F1, 2 TP / (2 TP + FP + FN), of the classes of a confusion matrix, as in scikit-learn."""
    return float((2 * np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1))).mean())


def matthews(counts: np.ndarray) -> float:
    """Matthews' correlation coefficient for any number of classes, from -1 to 1 (Gorodkin 2004,
    https://doi.org/10.1016/j.compbiolchem.2004.09.006); 0 where it is not defined: one class is all that is wanted, or
    all that is found.

    Args:
        counts: a confusion matrix, as `confusion` gives it.
    """
    wanted, found, total = counts.sum(axis=1), counts.sum(axis=0), int(counts.sum())
    both = float(np.trace(counts)) * total - float(wanted @ found)
    spread = (float(total) ** 2 - float(found @ found)) * (float(total) ** 2 - float(wanted @ wanted))
    return both / spread**0.5 if spread > 0 else 0.0


def class_indices(labels: Sequence[Any], names: Sequence[str] | None) -> np.ndarray:
    """Sample labels, given as indices or as names, as indices.

    Raises:
        QuantbentoError: a label is not one of the model's.
    """
    if names is None:
        try:
            return np.asarray([int(label) for label in labels])
        except (TypeError, ValueError):
            raise QuantbentoError("labels are names; list the model's under task_options.labels") from None
    # Names come first: where the classes are called "1" to "5", a label of 1 is the first class.
    place = {str(i): i for i in range(len(names))} | {name: i for i, name in enumerate(names)}
    unknown = sorted({str(label) for label in labels} - place.keys())
    if unknown:
        raise QuantbentoError(
            f"sample labels {unknown[:5]} are none of the model's: {one_of(names)} (or their indices)"
        )
    return np.asarray([place[str(label)] for label in labels])


def label_sets(labels: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    """Sample labels of which each is any number of `names`, as bool (samples, names).

    They are given as lists of names or indices, or as lists of a 0 or 1 for each name. Lists of zeros and ones that are
    all as long as there are names are the latter.

    Raises:
        QuantbentoError: they are no lists, or a label is not one of the model's.
    """
    if wrong := [given for given in labels if not isinstance(given, list | tuple | np.ndarray)]:
        raise QuantbentoError(
            f"the labels of a sample are a list here, of names or indices, or of a 0 or 1 for each of {one_of(names)}; "
            f"not {wrong[0]!r}"
        )
    if all(len(given) == len(names) and all(label in (0, 1) for label in given) for given in labels):
        return np.asarray([list(given) for given in labels], bool)
    sets = np.zeros((len(labels), len(names)), bool)
    for row, given in zip(sets, labels, strict=True):
        row[class_indices(given, names).astype(int)] = True
    return sets


def multi_label_f1(wanted: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """F1 over all labels together (micro), and the mean of every label's own (macro), of bool (samples, labels). One
    that is neither wanted nor found anywhere has 0, as in scikit-learn."""
    right, either = (wanted & found).sum(axis=0), wanted.sum(axis=0) + found.sum(axis=0)
    micro = 2 * right.sum() / max(either.sum(), 1)
    return float(micro), float((2 * right / np.maximum(either, 1)).mean())


def ndcg(scores: np.ndarray, relevance: np.ndarray, k: int) -> float:
    """Normalized discounted cumulative gain of the first `k` documents of a ranking: the sum of relevance / log2(rank +
    1), divided by that of the best ranking (Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418).

    Documents of the same score share the mean of their relevance (McSherry and Najork 2008), so that a model that
    scores all alike gains nothing by the order they are given in.

    Args:
        scores, relevance: of one query's documents; a relevance is zero or more, and one at least is more.
        k: how many of the first documents count.
    """
    discounts = 1 / np.log2(np.arange(2, min(k, len(scores)) + 2))
    _, place = np.unique(-scores, return_inverse=True)
    expected = (np.bincount(place, relevance) / np.bincount(place))[np.sort(place)]
    ideal = np.sort(relevance)[::-1]
    return float((expected[: len(discounts)] @ discounts) / (ideal[: len(discounts)] @ discounts))


def kl_of_listed(p_ids: np.ndarray, p_logs: np.ndarray, q_ids: np.ndarray, q_logs: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence D(p || q) in nats at each position, from the most probable tokens of each.

    Computed over the tokens that both list, plus one bucket for all the others. By the data processing inequality
    this is a lower bound of the full divergence, and a close one where the lists hold most of the probability.

    Args:
        p_ids, q_ids: token ids of shape (windows, positions, listed), no id twice at a position.
        p_logs, q_logs: their natural log-probabilities.

    Returns:
        float64 of shape (windows, positions), zero or more.
    """
    result = np.empty(p_ids.shape[:2])
    for w, (pi, pl, qi, ql) in enumerate(zip(p_ids, p_logs, q_ids, q_logs, strict=True)):
        both = pi[:, :, None] == qi[:, None, :]
        shared = both.any(axis=2)
        log_p = pl.astype(np.float64)
        log_q = np.take_along_axis(ql.astype(np.float64), both.argmax(axis=2), axis=1)
        p, q = np.where(shared, np.exp(log_p), 0.0), np.where(shared, np.exp(log_q), 0.0)
        rest_p, rest_q = (np.clip(1 - x.sum(axis=1), 1e-12, 1) for x in (p, q))
        listed = np.where(shared, p * (log_p - log_q), 0.0).sum(axis=1)
        result[w] = np.maximum(listed + rest_p * np.log(rest_p / rest_q), 0)
    return result
