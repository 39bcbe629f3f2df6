"""Intervals hold the truth as often as they say, and equal models differ by nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbento.judging import noise
from quantbento.judging.evaluation.base import Evaluation, Outcome
from quantbento.judging.evaluation.items import Items
from quantbento.tasks.base import Metric
from quantbento.tasks.heads import SingleLabel
from quantbento.tasks.source import SampleSet
from quantbento.tasks.text_classification import TextClassification
from quantbento.tasks.text_ranking import TextRanking


class Shares(Evaluation):
    """The share of right answers, and the largest error; rows are 0 or 1."""

    metrics = {"accuracy": Metric(+1), "largest": Metric(-1, extreme=True)}

    def units(self, outcome):
        return len(outcome.rows["right"])

    def resampler(self, baseline, variant):
        right = variant.rows["right"]
        return lambda drawn: {"accuracy": float(right[drawn].mean()), "largest": float(right[drawn].max())}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(noise, "RESAMPLES", (300, 200))


def outcome(right) -> Outcome:
    return Outcome({"right": np.asarray(right, np.float64)})


def intervals(baseline, variant) -> dict:
    return noise.estimate([Shares()], outcome(baseline), outcome(variant)).intervals


def classifier(labels: int) -> TextClassification:
    task = TextClassification.__new__(TextClassification)
    task.head = SingleLabel([str(i) for i in range(labels)])
    return task


@pytest.mark.parametrize(("accuracy", "harm"), [(0.9, 0.0), (0.8, 0.05)], ids=["as-good", "worse"])
def test_a_drop_is_within_its_interval_as_often_as_it_says(accuracy, harm):
    """Right answers of the baseline become wrong with a known probability: 95 % of the intervals hold the true drop,
    which 150 experiments tell from 88 % and less."""
    random, inside = np.random.default_rng(7), 0
    for _ in range(150):
        right = random.random(200) < accuracy
        variant = right ^ (
            random.random(200) < np.where(right, harm / accuracy + 0.05, 0.05 * accuracy / (1 - accuracy))
        )
        low, high = intervals(right, variant)["accuracy"]["drop"]
        inside += low <= harm <= high
    assert inside >= 0.88 * 150


def test_a_paired_interval_is_narrower_than_that_of_each_model():
    """What is hard for both cancels out."""
    random = np.random.default_rng(1)
    right = random.random(400) < 0.7
    variant = right & (random.random(400) < 0.98)
    found = intervals(right, variant)["accuracy"]
    assert np.ptp(found["drop"]) < np.ptp(found["value"]) / 2
    assert found["value"][0] < variant.mean() < found["value"][1]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=40))
def test_equal_models_differ_by_nothing(right):
    found = intervals(right, right)["accuracy"]
    assert found["drop"] == [0, 0]
    if all(right):
        assert found["recovery"] == [1, 1]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=30, max_size=60), st.randoms())
def test_the_order_of_samples_does_not_matter(pairs, random):
    """But for the draws themselves: ends move by less than the interval is wide, or by a sample or two."""
    shuffled = random.sample(pairs, len(pairs))
    first, second = (intervals(*zip(*own, strict=True))["accuracy"]["drop"] for own in (pairs, shuffled))
    assert first == pytest.approx(second, abs=max(0.35 * np.ptp(first), 2 / len(pairs)))


def test_the_same_samples_give_the_same_intervals():
    right = np.arange(50) % 3 > 0
    assert intervals(right, ~right) == intervals(right, ~right)


def test_extremes_single_samples_and_undefined_recoveries_have_no_interval():
    found = intervals([1, 0, 1, 1], [1, 1, 0, 1])
    assert found.keys() == {"accuracy"}
    assert intervals([1], [0]) == {}
    assert intervals([0, 0], [1, 0])["accuracy"].keys() == {"value", "drop"}


def test_resamples_are_fewer_where_they_take_long():
    assert noise._affordable(0.001) == 300
    assert noise._affordable(10) == 200


def test_items_are_resampled_through_the_task():
    random = np.random.default_rng(0)
    b = random.dirichlet([1, 1, 1], 120)
    labels = [str(i) for i in b.argmax(1)]
    v = np.where(random.random(120)[:, None] < 0.1, np.roll(b, 1, axis=1), b)
    items = Items(classifier(3), SampleSet(["a"] * 120, labels))
    found = noise.estimate([items], Outcome({"probabilities": b}), Outcome({"probabilities": v}))
    assert found.intervals.keys() == {"accuracy", "agreement", "f1_macro", "mcc"}
    low, high = found.intervals["accuracy"]["drop"]
    drop = 1 - np.mean(b.argmax(1) == v.argmax(1))
    assert 0 < low < drop < high < 2 * drop + 0.05
    assert found.resamples in (200, 300)


def test_documents_of_one_query_are_drawn_together():
    task = TextRanking.__new__(TextRanking)
    task.activation = "identity"
    query = np.repeat(np.arange(6), 4)
    logit = np.tile([3.0, 2.0, 1.0, 0.0], 6)
    rows = {"logit": logit, "query": query}
    labels = ([1, 0, 0, 0] * 3) + ([0, 0, 0, 1] * 3)  # of three queries the first document, of three the last
    items = Items(task, SampleSet([{}] * 24, labels))
    best = items.resampler(Outcome(rows), Outcome(rows))
    assert items.units(Outcome(rows)) == 6
    assert best(np.array([0, 0, 1]))["ndcg_10"] == 1
    worst = 1 / np.log2(5)
    assert best(np.array([0, 5, 5]))["ndcg_10"] == pytest.approx((1 + 2 * worst) / 3), (
        "a query drawn twice counts twice"
    )


def test_a_median_has_an_interval_from_six_rounds_on():
    assert noise.of_median([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert noise.of_median([6.0, 1.0, 5.0, 2.0, 4.0, 3.0]) == [1.0, 6.0]
    random = np.random.default_rng(3)
    ends = [noise.of_median(random.lognormal(0.5, 0.1, 9)) for _ in range(300)]
    inside = np.mean([low <= np.exp(0.5) <= high for low, high in ends])
    assert inside > 0.93


def test_what_is_within_noise_is_said():
    intervals = {"accuracy": {"drop": [-0.01, 0.02]}, "speedup": {"value": [0.98, 1.1]}}
    first, second = noise.told({"accuracy": 0.9}, {"accuracy": 0.905}, intervals, "accuracy")
    assert first == (
        "accuracy 0.9 against 0.905 of the baseline is within noise (95 % interval of the drop -0.01 to 0.02)"
    )
    assert second == "the speedup is within noise (95 % interval of the median 0.98 to 1.1)"
    intervals = {"accuracy": {"drop": [0.01, 0.03]}, "speedup": {"value": [1.5, 1.6]}}
    (line,) = noise.told({"accuracy": 0.88}, {"accuracy": 0.9}, intervals, "accuracy")
    assert "beyond noise" in line
    assert (
        noise.told({"mean_cosine": 0.99}, {"mean_cosine": 1.0}, {"mean_cosine": {"drop": [0.005, 0.02]}}, "mean_cosine")
        == []
    )
