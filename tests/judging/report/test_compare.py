"""What is beyond noise counts, what is within it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.report.compare import compare
from quantbento.judging.report.document import Document
from tests.judging.report.written import old_report, variant

SAMPLES = {"samples": {"evaluation": {"file": "a.txt", "sha256": "1"}}}


def document(*variants, **more) -> Document:
    return Document(Path("report.json"), old_report(*variants, **more))


def verdicts(before, after) -> dict[str, str]:
    return {c.figure: c.verdict for c in compare(before, after).changes if c.row == "int8"}


def cosine(value: float, around: float) -> dict:
    return variant(cosine=value, intervals={"mean_cosine": {"value": [value - around, value + around]}})


@pytest.mark.parametrize(
    ("after", "around", "verdict"),
    [(0.985, 0.004, "same"), (0.985, 0.001, "worse"), (0.995, 0.001, "better"), (0.99, 0.001, "same")],
)
def test_a_metric_changed_where_its_intervals_are_apart(after, around, verdict):
    assert verdicts(document(cosine(0.99, around)), document(cosine(after, around)))["mean_cosine"] == verdict


@pytest.mark.parametrize(("after", "verdict"), [(3.3, "same"), (3.5, "better"), (2.5, "worse")])
def test_a_speedup_changed_where_its_ranges_are_apart(after, verdict):
    assert verdicts(document(variant(speed=3.0)), document(variant(speed=after)))["speedup"] == verdict


@pytest.mark.parametrize(("after", "verdict"), [(0.985, "same"), (0.979, "worse")])
def test_a_metric_without_intervals_has_one_percent(after, verdict):
    before, later = variant(gates=[], passed=True), variant(cosine=after, gates=[], passed=True)
    [change] = [
        c for c in compare(document(before), document(later)).changes if c.figure == "mean_cosine" and c.row == "int8"
    ]
    assert (change.verdict, change.noise) == (verdict, "assumed 1.0%")


def test_smaller_is_better_where_the_report_says_so():
    rows = [document(variant(metrics={"kl": v}), better={"kl": -1}) for v in (0.1, 0.2)]
    assert verdicts(*rows)["kl"] == "worse"
    unknown = [document(variant(metrics={"own": v}), better={"kl": -1}) for v in (0.1, 0.2)]
    assert verdicts(*unknown)["own"] == "changed"


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (variant(), variant(cosine=0.97), "worse"),
        (variant(cosine=0.97), variant(), "better"),
        (variant(), {**variant(), "error": "x", "passed": False}, "worse"),
        (variant(), variant(gates=[], passed=True), "changed"),
        (variant(), variant(), "same"),
    ],
    ids=["fails-now", "passes-now", "cannot-be-made", "gates-gone", "equal"],
)
def test_gates(before, after, verdict):
    assert verdicts(document(before), document(after))["gates"] == verdict


def test_what_appeared_and_what_is_gone():
    found = compare(document(variant("a"), variant("b")), document(variant("b"), variant("c")))
    assert (found.appeared, found.gone) == (["c"], ["a"])
    assert found.regressions == []


def test_another_machine_is_said_and_its_times_are_not_compared():
    other = {"environment": {"python": "3.12", "cpu": "another", "threads": 2, "packages": {"torch": "2.14"}}}
    slow = {**variant(), "latency_ms": {"p50": 30.0}}
    found = compare(document(), document(slow, **other))
    assert found.environment == [("python", "3.11", "3.12"), ("cpu", "a CPU", "another"), ("torch", "2.13", "2.14")]
    assert "latency_ms p50" not in {c.figure for c in found.changes}
    assert found.notes == ["the machines differ, so latencies and throughputs are not compared"]
    assert verdicts(document(), document(slow))["latency_ms p50"] == "worse"


def test_other_samples_make_metrics_incomparable():
    others = {"samples": {"evaluation": {"file": "a.txt", "sha256": "2"}}}
    found = compare(document(provenance=SAMPLES), document(variant(cosine=0.5), provenance=others))
    assert "mean_cosine" not in {c.figure for c in found.changes}
    assert found.notes == ["they were judged on other samples, so metrics are not compared"]


def test_a_report_with_itself_is_the_same():
    assert {c.verdict for c in compare(document(), document()).changes} == {"same"}


def test_reports_of_two_tasks_are_refused():
    with pytest.raises(QuantbentoError, match=r"'feature-extraction', .* of 'tensor'; compare reports of one task"):
        compare(document(), document(task="tensor"))
