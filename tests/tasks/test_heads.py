"""Metrics of each head, worked out by hand, and labels that mean nothing to it."""

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.heads import HEADS, MultiLabel, Regression, SingleLabel, make_head


@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.problem_type)
def test_a_problem_type_makes_its_head(kind):
    head = make_head(kind.problem_type, ["a", "b"], 0.3)
    assert type(head) is kind
    assert getattr(head, "threshold", 0.3) == 0.3


@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.problem_type)
def test_what_is_measured_is_declared_and_labels_add_to_it(kind):
    head = make_head(kind.problem_type, ["a", "b"], 0.5)
    rows = head.rows(np.random.default_rng(0).normal(size=(8, 2)))
    wanted = {SingleLabel: [0, 1] * 4, MultiLabel: [["a"], []] * 4, Regression: [[0.5, 1.5]] * 8}[kind]
    assert head.compare(rows, rows, head.wanted(wanted)).keys() == kind.metrics.keys()
    unlabelled = {name for name, metric in kind.metrics.items() if not metric.labelled}
    assert head.compare(rows, rows, None).keys() == unlabelled


def test_several_labels_are_compared_one_by_one_and_as_sets():
    head = MultiLabel(["a", "b", "c"], 0.5)
    baseline = {"probabilities": np.array([[0.9, 0.1, 0.2], [0.6, 0.7, 0.1]], np.float32)}
    variant = {"probabilities": np.array([[0.9, 0.1, 0.2], [0.4, 0.7, 0.1]], np.float32)}
    found = head.compare(baseline, variant, head.wanted([["a"], ["a", "b"]]))
    assert found["agreement"] == pytest.approx(5 / 6)
    assert found["accuracy"] == 0.5
    assert found["f1_micro"] == pytest.approx(2 * 2 / (3 + 2))
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["max_probability_difference"] == pytest.approx(0.2)


def test_numbers_are_compared_with_the_baseline_and_with_labels():
    head = Regression(["grade"])
    baseline, variant = ({"values": np.array([values], np.float32).T} for values in ([1, 2, 3, 4], [1, 2, 4, 3]))
    found = head.compare(baseline, variant, head.wanted([1.0, 2, 3, 5]))
    assert found["max_difference"] == 1
    assert found["mean_absolute_error"] == pytest.approx((0 + 0 + 1 + 2) / 4)
    assert found["spearman"] == pytest.approx(0.8)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 4, 3], [1, 2, 3, 5])[0, 1])


@pytest.mark.parametrize(
    ("labels", "wanted", "message"),
    [
        (["grade"], ["good"], "labels of a regression model are a number for each sample"),
        (["grade"], [[1, 2]], "are a number for each sample"),
        (["grade", "length"], [1.0], "are 2 numbers for each sample"),
    ],
)
def test_labels_of_a_regression_that_are_no_numbers_are_an_error(labels, wanted, message):
    with pytest.raises(QuantbentoError, match=message):
        Regression(labels).wanted(wanted)
