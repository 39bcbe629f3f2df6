"""The Pareto front holds what no other beats in both, and no refused variant."""

from __future__ import annotations

from pathlib import Path

from quantbento.judging.report.document import Document
from quantbento.judging.report.points import REFUSED, front, points
from tests.judging.report.written import old_report, variant


def found(*variants, **more):
    return points(Document(Path("report.json"), old_report(*variants, **more)))


def test_the_front_is_what_nothing_beats():
    rows, recovers = found(variant("fast", 4.0, 0.985), variant("beaten", 3.0, 0.981), variant("good", 2.0, 0.995))
    assert recovers
    assert [p.name for p in front(rows)] == ["torch-bf16", "good", "fast"]


def test_a_refused_variant_is_a_point_and_not_on_the_front():
    rows, _ = found(variant("refused", 9.0, 0.9), variant("good", 2.0))
    assert [p.kind for p in rows if p.name == "refused"] == [REFUSED]
    assert "refused" not in [p.name for p in front(rows)]


def test_where_smaller_is_better_the_front_is_below():
    rows, recovers = found(
        variant("a", 3.0, recovery={}, metrics={"kl": 0.2}),
        variant("b", 2.0, recovery={}, metrics={"kl": 0.1}),
        primary=["kl"],
    )
    assert not recovers
    assert [p.name for p in front(rows, -1)] == ["b", "a"]
    assert [p.name for p in front(rows, 1)] == ["a"]


def test_bars_are_the_intervals_that_were_measured():
    rows, _ = found(variant(intervals={"mean_cosine": {"recovery": [0.97, 0.999], "value": [0, 1]}}))
    assert (rows[0].low, rows[0].high, rows[0].slow, rows[0].fast) == (0.97, 0.999, 2.8, 3.2)


def test_what_was_not_measured_is_no_point():
    rows, _ = found(variant("a"), {**variant("b"), "speedup": None}, {**variant("c"), "recovery": {}, "metrics": {}})
    assert [p.name for p in rows] == ["a", "torch-fp32", "torch-bf16"]
