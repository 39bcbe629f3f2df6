"""Formulas against values worked out by hand, or by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.metrics import (
    SQNR_CEILING,
    class_indices,
    classification_metrics,
    kl_of_listed,
    rank_correlation,
    sqnr_db,
)


def test_sqnr_is_20_db_for_each_factor_of_ten():
    signal = np.array([3.0, 4.0], dtype=np.float32)
    assert sqnr_db(signal, np.array([3.0, 4.5])) == pytest.approx(20)
    assert sqnr_db(signal, np.array([3.0, 4.05])) == pytest.approx(40)


def test_sqnr_of_equal_and_of_silent_signals_is_finite():
    one, zero = np.ones(3), np.zeros(3)
    assert sqnr_db(one, one) == SQNR_CEILING
    assert sqnr_db(zero, zero) == SQNR_CEILING
    assert sqnr_db(zero, one) == -SQNR_CEILING


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_rank_correlation_is_spearmans(ties):
    a, b = np.random.default_rng(0).normal(size=(2, 50))
    if ties:
        a, b = a.round(), b.round()
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_rank_correlation_looks_at_order_only():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)


def test_rank_correlation_of_constants_is_a_number():
    assert rank_correlation(np.ones(3), np.full(3, 2.0)) == 1.0
    assert rank_correlation(np.ones(3), np.arange(3.0)) == 0.0


def test_classification_counts_top_classes():
    baseline = np.array([[2.0, 1.0], [0.0, 1.0], [5.0, 0.0], [0.0, 9.0]])
    variant = np.array([[2.0, 3.0], [0.0, 1.0], [5.0, 0.0], [0.0, 9.0]])
    assert classification_metrics(baseline, variant, None) == {"agreement": 0.75}
    assert classification_metrics(baseline, variant, np.array([1, 1, 1, 1])) == {"agreement": 0.75, "accuracy": 0.75}
    assert classification_metrics(baseline, baseline, np.array([1, 1, 1, 1]))["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        (["upper", "lower", "upper"], ["lower", "upper"], [1, 0, 1]),
        ([1, 0], ["lower", "upper"], [1, 0]),
        (["1", "0"], ["lower", "upper"], [1, 0]),
        ([2, "0"], None, [2, 0]),
        (["1", "5"], ["1", "2", "3", "4", "5"], [0, 4]),
        ([1, 5], ["1", "2", "3", "4", "5"], [0, 4]),
    ],
    ids=["names", "indices", "indices-as-text", "no-names", "names-like-numbers", "numbers-like-names"],
)
def test_labels_become_indices(labels, names, indices):
    assert class_indices(labels, names).tolist() == indices


def test_a_label_the_model_does_not_have_is_an_error():
    with pytest.raises(QuantbentoError, match=r"\['middle'\] are none of the model's: 'lower' or 'upper'"):
        class_indices(["upper", "middle"], ["lower", "upper"])
    with pytest.raises(QuantbentoError, match=r"labels are names; list the model's under task_options.labels"):
        class_indices(["upper"], None)


def distributions(seed: int, spread: float = 2.0) -> np.ndarray:
    """Log-probabilities of 50 tokens at 2 x 3 positions."""
    logits = spread * np.random.default_rng(seed).normal(size=(2, 3, 50))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def listed(logs: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The most probable tokens, as a runtime's `score` returns them."""
    ids = np.argsort(-logs, axis=-1)[..., :count]
    return ids.astype(np.int32), np.take_along_axis(logs, ids, -1).astype(np.float32)


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (np.exp(p) * (p - q)).sum(-1)


def test_kl_is_exact_where_every_token_is_listed():
    p, q = distributions(0), distributions(1)
    found = kl_of_listed(*listed(p, 50), *listed(q, 50))
    assert (found.shape, found.dtype) == ((2, 3), np.float64)
    np.testing.assert_allclose(found, divergence(p, q), rtol=1e-5)
    assert (found > 0.5).all()


@pytest.mark.parametrize("count", [1, 8, 50])
def test_kl_of_equals_is_zero(count):
    p = listed(distributions(0), count)
    np.testing.assert_allclose(kl_of_listed(*p, *p), 0, atol=1e-6)


def test_kl_of_few_is_a_lower_bound_that_rises_with_their_number():
    p = distributions(0)
    q = p + 0.3 * np.random.default_rng(1).normal(size=p.shape)
    q -= np.log(np.exp(q).sum(-1, keepdims=True))
    exact = divergence(p, q)
    means = []
    for count in (2, 8, 32):
        found = kl_of_listed(*listed(p, count), *listed(q, count))
        assert (found >= 0).all()
        assert (found <= exact + 1e-6).all()
        means.append(found.mean())
    assert means == sorted(means)
    assert means[-1] > 0.9 * exact.mean()


def test_kl_without_a_shared_token_says_nothing():
    ids, logs = np.array([[[0, 1]]]), np.log([[[0.5, 0.5]]])
    np.testing.assert_allclose(kl_of_listed(ids, logs, ids + 2, logs), 0, atol=1e-6)
