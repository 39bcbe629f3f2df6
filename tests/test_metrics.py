"""Formulas against values worked out by hand, or by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from quantbento.errors import QuantbentoError
from quantbento.metrics import SQNR_CEILING, class_indices, classification_metrics, rank_correlation, sqnr_db


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
