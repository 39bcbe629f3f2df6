"""The summary says what the figures say, and nothing that was not proven."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.judging.report.document import Document
from quantbento.judging.report.sentence import summary
from tests.judging.report.written import old_report, variant


def said(*variants, **more) -> str:
    return summary(Document(Path("report.json"), old_report(*variants, **more)))


def test_the_fastest_that_passed_is_named_and_the_refused_are():
    text = said(variant("a", 2.0), variant("b", 3.04), variant("c", 9.0, 0.5))
    assert text == (
        "Compared with the full-precision model, b is 3.0 times as fast, takes 25 % of its space and keeps 99.0 % of "
        "its quality (mean cosine). 2 of 3 variants passed their gates; refused: c."
    )


def test_a_loss_that_noise_explains_is_called_so():
    drop = {"mean_cosine": {"drop": [-0.01, 0.02]}}
    assert "(mean cosine), a difference within noise" in said(variant(intervals=drop))
    assert "noise" not in said(variant(intervals={"mean_cosine": {"drop": [0.01, 0.02]}}))


def test_no_gates_are_no_proof():
    text = said(variant(gates=[], passed=True))
    assert text.endswith("1 had no gates, so nothing was asked of it.")
    assert "passed" not in text


@pytest.mark.parametrize(
    ("quality", "shown"), [(1.0, "100.0 %"), (0.9999, "99.990 %"), (0.99999999, "nearly 100 %"), (1.002, "100.2 %")]
)
def test_what_is_not_whole_is_not_called_so(quality, shown):
    assert f"keeps {shown} of its quality" in said(variant(cosine=quality))


@pytest.mark.parametrize(
    ("speed", "shown"), [(1.02, "is as fast"), (1.05, "is 1.05 times"), (0.5, "is 0.5 times"), (2.26, "is 2.3 times")]
)
def test_speed_in_words(speed, shown):
    assert f"int8 {shown}" in said(variant(speed=speed))


def test_without_a_recovery_the_metric_is_given():
    text = said(variant(recovery={}, metrics={"sqnr_db": 31.52}), task="tensor", primary=["sqnr_db"], baseline=None)
    assert "and has a sqnr db of 31.52." in text


def test_errors_and_placeholders_are_said():
    text = said({**variant("a"), "error": "x", "passed": False})
    assert text == "Could not be made: a."
    marked = {"samples": {"evaluation": {"placeholder": True}}}
    assert said(provenance=marked).endswith("The samples are placeholders, so no figure here proves anything.")
    assert said() != said(provenance=marked)


def test_what_was_not_judged_counts_for_nothing():
    unjudged = variant("later", gates=[], passed=False) | {"judged": False, "speedup": None}
    assert said(variant("a", 2.0), unjudged).endswith("It passed its gates; not judged here: later.")
    assert said(unjudged) == "Not judged here: later."
