"""Formulas against values worked out by hand, or by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.metrics import (
    SQNR_CEILING,
    class_indices,
    classification_metrics,
    kl_of_listed,
    label_sets,
    linear_correlation,
    multi_label_f1,
    ndcg,
    output_metrics,
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
    found = classification_metrics(baseline, variant, np.array([1, 1, 1, 1]))
    assert (found["agreement"], found["accuracy"]) == (0.75, 0.75)
    assert classification_metrics(baseline, baseline, np.array([1, 1, 1, 1]))["accuracy"] == 0.5


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("samples", [1, 4, 200])
def test_f1_and_mcc_are_those_of_scikit_learn(classes, samples):
    """With few samples, some classes are nowhere, and one may be all that is wanted."""
    random = np.random.default_rng(classes * samples)
    for _ in range(20):
        scores, wanted = random.random((samples, classes)), random.integers(0, classes, samples)
        ours, found = classification_metrics(scores, scores, wanted), scores.argmax(1)
        assert ours["f1_macro"] == pytest.approx(f1_score(wanted, found, average="macro"))
        assert ours["mcc"] == pytest.approx(matthews_corrcoef(wanted, found))
        if classes == 2:
            assert ours["f1"] == pytest.approx(f1_score(wanted, found, zero_division=0))
        else:
            assert "f1" not in ours


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


def test_floats_are_compared_by_their_error_and_integers_by_whether_they_are_equal():
    baseline = {"a": np.array([[3.0, 4.0]]), "b": np.array([1, 2, 3, 4]), "c": np.array([True])}
    variant = {"a": np.array([[3.0, 4.5]]), "b": np.array([1, 2, 3, 5]), "c": np.array([True])}
    metrics = output_metrics(baseline, variant)
    assert metrics == pytest.approx({"sqnr_db": 20.0, "max_error": 0.5, "agreement": 0.8})
    assert output_metrics({"a": baseline["a"]}, variant).keys() == {"sqnr_db", "max_error"}
    assert output_metrics({"b": baseline["b"]}, variant).keys() == {"agreement"}


def test_outputs_of_nothing_are_equal():
    nothing = {"boxes": np.zeros((2, 0, 4), np.float32), "classes": np.zeros((2, 0), np.int64)}
    assert output_metrics(nothing, nothing) == {"sqnr_db": SQNR_CEILING, "max_error": 0.0, "agreement": 1.0}


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("documents", [1, 5, 25])
def test_ndcg_is_that_of_scikit_learn(documents, ties):
    from sklearn.metrics import ndcg_score

    chance = np.random.default_rng(documents)
    for _ in range(20):
        scores, relevance = chance.normal(size=documents), chance.integers(0, 4, documents).astype(float)
        scores = scores.round(0) if ties else scores
        relevance[0] += 1
        if documents == 1:  # scikit-learn takes two or more
            assert ndcg(scores, relevance, 10) == 1
        else:
            assert ndcg(scores, relevance, 10) == pytest.approx(ndcg_score([relevance], [scores], k=10))


def test_ndcg_worked_out_by_hand():
    assert ndcg(np.array([3.0, 2.0, 1.0]), np.array([0.0, 1.0, 0.0]), 10) == pytest.approx(1 / np.log2(3))
    assert ndcg(np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 0.0]), 2) == 0


def test_scores_that_are_all_alike_gain_nothing_by_the_order_of_the_documents():
    first, last = np.array([1.0, 0, 0, 0]), np.array([0, 0, 0, 1.0])
    assert ndcg(np.zeros(4), first, 10) == ndcg(np.zeros(4), last, 10) < 0.7


def test_linear_correlation_is_pearsons():
    from scipy.stats import pearsonr

    a, b = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    assert linear_correlation(a, b) == pytest.approx(pearsonr(a, b).statistic, abs=1e-6)
    assert linear_correlation(np.ones(3), np.arange(3.0)) == 0.0
    assert linear_correlation(np.ones(3), np.ones(3)) == 1.0


def test_multi_label_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    wanted, found = np.random.default_rng(0).random((2, 40, 5)) > 0.6
    wanted[:, 4] = found[:, 4] = False
    expected = [f1_score(wanted, found, average=kind, zero_division=0) for kind in ("micro", "macro")]
    assert multi_label_f1(wanted, found) == pytest.approx(tuple(expected))
    assert multi_label_f1(wanted[:, 4:], found[:, 4:]) == (0, 0)


@pytest.mark.parametrize(
    ("labels", "sets"),
    [
        ([["a", "c"], [], ["b"]], [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
        ([[0, 2], [], ["1"]], [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
        ([[1, 0, 1], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]]),
        ([[1.0, 0.0, 1.0], (0, True, 0)], [[1, 0, 1], [0, 1, 0]]),
        ([[0, 1, 2], [0, 1, 1]], [[1, 1, 1], [1, 1, 0]]),
    ],
    ids=["names", "indices", "zeros-and-ones", "floats", "indices-as-many-as-names"],
)
def test_sets_of_labels(labels, sets):
    found = label_sets(labels, ["a", "b", "c"])
    assert found.dtype == bool
    assert found.astype(int).tolist() == sets


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["a"], "the labels of a sample are a list here"), ([["a"], ["d"]], r"\['d'\] are none of the model's")],
    ids=["no-list", "unknown"],
)
def test_what_is_no_set_of_labels_is_an_error(labels, message):
    with pytest.raises(QuantbentoError, match=message):
        label_sets(labels, ["a", "b", "c"])
