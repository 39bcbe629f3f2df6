"""`quantbento report` and `quantbento compare`, as a user calls them."""

from __future__ import annotations

import json
import webbrowser

import pytest

from quantbento.cli import main
from tests.judging.report import written


@pytest.fixture
def reports(tmp_path):
    """Two reports; in the second, `int8` is slower and `new` was added."""
    written.write(tmp_path / "before", written.old_report(written.variant()))
    slower = written.variant(speed=2.0), written.variant("new")
    written.write(tmp_path / "after", written.old_report(*slower))
    return tmp_path


def test_report_writes_the_page_and_opens_it(reports, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert main(["report", str(reports / "before"), "--open"]) == 0
    page = reports / "before" / "report.html"
    assert capsys.readouterr().out == f"report: {page}\n"
    assert opened == [page.as_uri()]
    assert page.is_file()


def test_report_says_where_no_browser_is(reports, capsys, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert main(["report", str(reports / "before"), "--open"]) == 0
    assert "no browser was found" in capsys.readouterr().out


def test_a_report_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["report", "nothing", "--output", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no report ")
    assert line.endswith("Make one with: quantbento save nothing")


@pytest.mark.parametrize(("more", "code"), [([], 0), (["--fail-on-regression"], 1)], ids=["told", "failing"])
def test_compare_tells_what_got_worse(reports, capsys, more, code):
    assert main(["compare", str(reports / "before"), str(reports / "after"), *more]) == code
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if "speedup" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        *("int8", "speedup", "3", "2", "-33.33%", "p10-p90", "worse"),
    ]
    assert "appeared: new" in out
    assert "size_bytes" not in out


def test_compare_with_itself_fails_on_nothing(reports, capsys):
    same = [str(reports / "before")] * 2
    assert main(["compare", *same, "--fail-on-regression", "--all"]) == 0
    assert "24.0 MB" in capsys.readouterr().out


def test_compare_in_json(reports, capsys):
    assert main(["compare", str(reports / "before"), str(reports / "after"), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["appeared"] == ["new"]
    assert {key: value for key, value in found["changes"][2].items() if key not in ("noise", "verdict")} == {
        "row": "int8",
        "figure": "speedup",
        "before": 3.0,
        "after": 2.0,
    }
