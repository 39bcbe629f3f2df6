"""Formulas that several tasks use. All take and return plain arrays and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError, one_of

# What sqnr_db returns for equal signals: finite, so that JSON can hold it, and out of any quantizer's reach.
SQNR_CEILING = 200.0


def sqnr_db(signal: np.ndarray, noisy: np.ndarray) -> float:
    """Signal to quantization noise ratio, 20 log10(|signal| / |signal - noisy|), in dB; higher is better."""
    s, n = signal.astype(np.float64), noisy.astype(np.float64)
    noise = float(np.linalg.norm(s - n))
    power = float(np.linalg.norm(s))
    if noise == 0:
        return SQNR_CEILING
    if power == 0:
        return -SQNR_CEILING
    return min(SQNR_CEILING, 20 * float(np.log10(power / noise)))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho of two lists of values; ties get their mean rank."""
    ra, rb = _ranks(a), _ranks(b)
    if ra.std() == 0 or rb.std() == 0:
        return 1.0 if np.array_equal(ra, rb) else 0.0
    return float(np.corrcoef(ra, rb)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def classification_metrics(baseline: np.ndarray, variant: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
    """Top-1 agreement of two score arrays (samples, classes), and the variant's accuracy where labels are given."""
    top_b, top_v = baseline.argmax(-1), variant.argmax(-1)
    metrics = {"agreement": float((top_b == top_v).mean())}
    if labels is not None:
        metrics["accuracy"] = float((top_v == labels).mean())
    return metrics


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
