"""A variant passes or fails each gate at its limit, and the result says by how much."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbento.judging.gates import GateResult, exact, judge
from quantbento.recipe import Gates

BETTER = {"accuracy": +1, "cosine": +1, "error": -1}
BASELINE = {"accuracy": 0.9, "error": 0.1}


def result(gates: Gates, metrics: dict | None = None, speedup: float = 1.0, size_ratio: float = 1.0) -> GateResult:
    (only,) = judge(gates, metrics or {}, BASELINE, BETTER, speedup=speedup, size_ratio=size_ratio)
    return only


@pytest.mark.parametrize(
    ("gates", "metrics", "passed"),
    [
        (Gates(min={"cosine": 0.9}), {"cosine": 0.9}, True),
        (Gates(min={"cosine": 0.9}), {"cosine": 0.899}, False),
        (Gates(max={"error": 0.2}), {"error": 0.2}, True),
        (Gates(max={"error": 0.2}), {"error": 0.201}, False),
        (Gates(max_drop={"accuracy": 0.01}), {"accuracy": 0.89}, True),
        (Gates(max_drop={"accuracy": 0.01}), {"accuracy": 0.88}, False),
        (Gates(max_drop={"accuracy": 0.01}), {"accuracy": 0.95}, True),
        (Gates(max_drop={"error": 0.05}), {"error": 0.14}, True),
        (Gates(max_drop={"error": 0.05}), {"error": 0.2}, False),
        (Gates(min_recovery={"accuracy": 0.99}), {"accuracy": 0.8911}, True),
        (Gates(min_recovery={"accuracy": 0.99}), {"accuracy": 0.89}, False),
        (Gates(min_recovery={"error": 0.8}), {"error": 0.125}, True),
        (Gates(min_recovery={"error": 0.8}), {"error": 0.13}, False),
        (Gates(min_recovery={"error": 0.8}), {"error": 0.05}, True),
        (Gates(min={"cosine": 0.9}), {"cosine": math.nan}, False),
        (Gates(max={"error": 0.2}), {"error": math.nan}, False),
        (Gates(max_drop={"accuracy": 0.01}), {"accuracy": math.nan}, False),
    ],
    ids=lambda v: "-".join(v.model_dump(exclude_defaults=True)) if isinstance(v, Gates) else str(v),
)
def test_a_metric_is_held_against_its_limit(gates, metrics, passed):
    assert result(gates, metrics).passed is passed


@pytest.mark.parametrize(("speedup", "passed"), [(1.2, True), (1.19, False)])
def test_speed_is_held_against_its_limit(speedup, passed):
    judged = result(Gates(min_speedup=1.2), speedup=speedup)
    assert (judged.metric, judged.value, judged.passed) == ("speedup", speedup, passed)


@pytest.mark.parametrize(("ratio", "passed"), [(0.27, True), (0.28, False)])
def test_size_is_held_against_its_limit(ratio, passed):
    judged = result(Gates(max_size_ratio=0.27), size_ratio=ratio)
    assert (judged.metric, judged.value, judged.passed) == ("size_ratio", ratio, passed)


@pytest.mark.parametrize("rule", ["min", "max", "max_drop", "min_recovery"])
def test_what_was_not_measured_fails(rule):
    judged = result(Gates(**{rule: {"accuracy": 0.5}}), {"cosine": 1.0})
    assert (judged.value, judged.passed) == (None, False)
    assert str(judged) == f"{rule} accuracy failed: it was not measured (are the samples labelled?)"


def test_every_gate_is_judged_and_no_gate_is_no_result():
    gates = Gates(min={"cosine": 0.5, "accuracy": 0.5}, max={"error": 1}, min_speedup=1, max_size_ratio=1)
    results = judge(gates, {"cosine": 0.1, "accuracy": 0.9}, {}, BETTER, speedup=2, size_ratio=0.5)
    assert [(r.rule, r.passed) for r in results] == [
        ("min", False),
        ("min", True),
        ("max", False),
        ("min_speedup", True),
        ("max_size_ratio", True),
    ]
    assert judge(Gates(), {}, {}, BETTER, speedup=0.1, size_ratio=9) == []


@pytest.mark.parametrize(
    ("judged", "text"),
    [
        (GateResult("cosine", "min", 0.99, 0.98, False), "min cosine failed: 0.98 against 0.99 (0.01 short)"),
        (GateResult("error", "max", 0.1, 0.3, False), "max error failed: 0.3 against 0.1 (0.2 too much)"),
        (GateResult("accuracy", "max_drop", 0.01, 0.02, False), "max_drop accuracy failed: 0.02 against 0.01"),
        (GateResult("speedup", "min_speedup", 1.2, 1.5, True), "min_speedup passed: 1.5 against 1.2 (0.3 to spare)"),
    ],
    ids=["short", "too-much", "drop", "to-spare"],
)
def test_a_result_says_by_how_much(judged, text):
    assert str(judged).startswith(text)
    assert GateResult(**judged.report()) == judged


@settings(deadline=None)
@given(st.integers(1, 2000), st.data())
def test_a_drop_of_a_count_of_samples_is_compared_exactly(samples, data):
    """As floats, 400/400 - 398/400 is more than 0.005."""
    right, wrong = data.draw(st.integers(0, samples)), data.draw(st.integers(0, 20))
    limit = data.draw(st.sampled_from([0.0, 0.001, 0.005, 0.01, 0.02, 0.25]))
    fewer = max(0, right - wrong)
    judged = judge(
        Gates(max_drop={"accuracy": limit}),
        {"accuracy": fewer / samples},
        {"accuracy": right / samples},
        BETTER,
        speedup=1,
        size_ratio=1,
    )
    assert judged[0].passed is (Fraction(right - fewer, samples) <= Fraction(str(limit)))


def test_a_drop_that_floats_get_wrong():
    assert 1 - 398 / 400 > 0.005
    baseline = {"accuracy": 1.0}
    gates = Gates(max_drop={"accuracy": 0.005})
    (judged,) = judge(gates, {"accuracy": 398 / 400}, baseline, BETTER, speedup=1, size_ratio=1)
    assert (judged.passed, judged.value) == (True, 0.005)
    (judged,) = judge(gates, {"accuracy": 397 / 400}, baseline, BETTER, speedup=1, size_ratio=1)
    assert not judged.passed


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["min", "max", "max_drop", "min_recovery"]), st.integers(1, 6))
def test_a_failing_gate_never_shows_the_digits_of_its_limit(value, baseline, rule, digits):
    for limit in {round(value, digits), round(abs(baseline - value), digits)} - {0.0}:
        gates = Gates(**{rule: {"accuracy": limit}})
        (judged,) = judge(gates, {"accuracy": value}, {"accuracy": baseline}, BETTER, speedup=1, size_ratio=1)
        if not judged.passed and judged.value is not None:
            shown, against = str(judged).split(": ")[1].split(" (")[0].split(" against ")
            assert float(shown) != float(against)
            assert (float(shown) < float(against)) is judged.is_least


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_share_is_known_by_its_float(part, whole):
    assert exact(part / whole) == Fraction(part, whole)


INTERVALS = {
    "accuracy": {"value": [0.88, 0.92], "drop": [-0.01, 0.02], "recovery": [0.98, 1.01]},
    "error": {"value": [0.1, 0.3], "drop": [0.0, 0.2], "recovery": [0.5, 1.0]},
    "speedup": {"value": [1.1, 1.4]},
}


@pytest.mark.parametrize(
    ("gates", "passed"),
    [
        ({"min": {"accuracy": 0.88}}, True),
        ({"min": {"accuracy": 0.89}}, False),
        ({"max": {"error": 0.3}}, True),
        ({"max": {"error": 0.25}}, False),
        ({"max_drop": {"accuracy": 0.02}}, True),
        ({"max_drop": {"accuracy": 0.015}}, False),
        ({"min_recovery": {"accuracy": 0.98}}, True),
        ({"min_recovery": {"accuracy": 0.99}}, False),
        ({"min_speedup": 1.1}, True),
        ({"min_speedup": 1.2}, False),
        ({"level": "mlperf-99"}, False),
    ],
    ids=str,
)
def test_a_confident_gate_compares_the_worse_end(gates, passed):
    """The value itself passes each of these."""
    metrics, baseline = {"accuracy": 0.9, "error": 0.2}, {"accuracy": 0.905, "error": 0.2}
    more = {"speedup": 1.25, "size_ratio": 1, "primary": ["accuracy"]}
    (point,) = judge(Gates(**gates), metrics, baseline, BETTER, intervals=INTERVALS, **more)
    (sure,) = judge(Gates(**gates, confident=True), metrics, baseline, BETTER, intervals=INTERVALS, **more)
    assert point.passed
    assert (sure.passed, sure.value, sure.confident) == (passed, point.value, True)
    assert point.within_noise is not passed or "the 95 % interval" not in str(point)


def test_without_an_interval_a_confident_gate_fails_and_says_why():
    (judged,) = judge(Gates(min_speedup=1.2, confident=True), {}, {}, BETTER, speedup=1.5, size_ratio=1)
    assert not judged.passed
    assert "1.5 has no interval, which needs two samples, or six rounds of a speedup" in str(judged)
    (size,) = judge(Gates(max_size_ratio=0.3, confident=True), {}, {}, BETTER, speedup=1, size_ratio=0.2)
    assert size.passed, "a size is counted"


@pytest.mark.parametrize(
    ("level", "accuracy", "passed"),
    [
        ("mlperf-99", 0.891, True),
        ("mlperf-99", 0.8909, False),
        ("mlperf-99.9", 0.8991, True),
        ("mlperf-99.9", 0.899, False),
    ],
)
def test_a_level_is_a_recovery_of_the_first_primary_metric_that_was_measured(level, accuracy, passed):
    metrics, primary = {"accuracy": accuracy, "error": 9.0}, ["f1", "accuracy", "error"]
    (judged,) = judge(Gates(level=level), metrics, BASELINE, BETTER, speedup=1, size_ratio=1, primary=primary)
    assert (judged.metric, judged.rule, judged.passed) == ("accuracy", level, passed)
    assert str(judged).startswith(f"{level} accuracy {'passed' if passed else 'failed'}: ")


def test_a_variant_s_gates_are_added_to_the_recipe_s():
    both = Gates(level="mlperf-99", confident=True, min={"accuracy": 0.5}).merged(Gates(min={"error": 1}))
    assert both == Gates(level="mlperf-99", confident=True, min={"accuracy": 0.5, "error": 1})
    assert Gates(confident=True).merged(Gates(confident=False)).confident is False
