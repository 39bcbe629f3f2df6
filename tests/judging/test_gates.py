"""A variant passes or fails each gate at its limit, and the result says by how much."""

from __future__ import annotations

import math

import pytest

from quantbento.judging.gates import GateResult, judge
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
