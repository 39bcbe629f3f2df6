"""A report is found by any of its names, and what is no report is refused with the next command."""

from __future__ import annotations

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.report import document
from tests.judging.report import written


@pytest.fixture
def reports(tmp_path):
    written.write(tmp_path / "reports" / "demo", written.old_report())
    (tmp_path / "demo.yaml").write_text("name: demo\n")
    return tmp_path / "reports"


@pytest.mark.parametrize("name", ["demo", "{0}/demo", "{0}/demo/report.json", "{0}/../demo.yaml"])
def test_a_report_is_found_by(reports, name):
    assert document.find(name.format(reports), reports).samefile(reports / "demo" / "report.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", r"no report .*other/report.json \(.* has demo\). Make one with: quantbento save other"),
        ("gone.json", r"no report gone.json. Make one with: quantbento save RECIPE"),
        ("gone.yaml", r"gone.yaml cannot be read: No such file"),
    ],
)
def test_a_report_that_is_not_there(reports, name, message):
    with pytest.raises(QuantbentoError, match=message):
        document.find(name, reports)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "it holds a list, not an object"),
        ('{"schema_version": 2}', "has schema_version 2; this quantbento reads 1"),
        ('{"schema_version": 1}', "it lacks `recipe` or `variants`"),
    ],
)
def test_what_is_no_report(tmp_path, text, message):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(QuantbentoError, match=message):
        document.read(tmp_path / "report.json")


def read(tmp_path, report) -> document.Document:
    return document.read(written.write(tmp_path, report))


def test_an_older_report_takes_its_metrics_from_the_task(tmp_path):
    found = read(tmp_path, written.old_report())
    assert found.primary == "mean_cosine"
    assert found.better["mean_cosine"] == 1


def test_a_task_that_is_not_here_leaves_the_metrics_that_were_measured(tmp_path):
    found = read(tmp_path, written.old_report(task="nowhere:Task"))
    assert found.primary == "mean_cosine"
    assert found.better == {}


def test_quality_is_a_variants_recovery_and_full_precisions_share_of_the_baseline(tmp_path):
    report = written.old_report()
    report["references"][0]["metrics"]["mean_cosine"] = 0.98
    found = read(tmp_path, report)
    assert [found.quality(row) for row in (*found.variants, *found.full_precision)] == [0.99, 1.0, 0.98]
    smaller = read(tmp_path, {**report, "better": {"mean_cosine": -1}})
    assert smaller.quality(smaller.full_precision[1]) == pytest.approx(1 / 0.98)
    decibels = read(tmp_path, written.old_report(task="tensor", primary=["sqnr_db"]))
    decibels.report["variants"] = [written.variant(metrics={"sqnr_db": 40.0}, recovery={"sqnr_db": 0.2})]
    assert decibels.quality(decibels.variants[0]) is None
    without = read(tmp_path, written.old_report(written.variant(recovery={})))
    assert without.quality(without.full_precision[0]) is None
