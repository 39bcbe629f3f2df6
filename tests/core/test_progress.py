"""A run shows its stages: one line per stage in a log, a bar on a terminal, nothing if nobody asked."""

from __future__ import annotations

import io
import re
import sys

import pytest

from quantbento.core.progress import Bars, Lines, Silent, for_stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch) -> Terminal:
    """The user's screen, until the end of the test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def visible(text: str) -> str:
    """The text without the codes that colour it and move the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_silent_prints_nothing(capsys):
    with Silent().stage("quantize") as advance:
        advance(1, 2)
        Silent().say("a line")
    assert capsys.readouterr() == ("", "")


def test_lines_tell_a_stage_once_it_has_ended(capsys):
    with Lines().stage("quantize") as advance:
        advance(1, 2)
        assert capsys.readouterr() == ("", "")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"quantize  0\.\d s\n", err)


def test_lines_do_not_report_a_stage_that_failed(capsys):
    with pytest.raises(KeyError), Lines().stage("quantize"):
        raise KeyError
    assert capsys.readouterr().err == ""


def test_lines_keep_the_order_of_what_was_said(capsys):
    with Lines().stage("outer"):
        Lines().say("inside [the] stage")
    assert [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()] == ["inside [the] stage", "outer"]


def test_bars_leave_a_line_where_the_bar_was(monkeypatch):
    screen = terminal(monkeypatch)
    with Bars().stage("measure") as advance:
        advance(1, 4)
        advance(4, 4)
    drawn, last = screen.getvalue(), visible(screen.getvalue()).splitlines()[-1]
    assert re.search(r"measure  0\.\d s", last)
    assert "\x1b[?25l" in drawn  # the cursor is hidden under the bar
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")  # and there again


@pytest.mark.parametrize(("done", "cells"), [(1, 10), (2, 20), (4, 40)], ids=["quarter", "half", "all"])
def test_bars_are_filled_as_far_as_a_stage_is(monkeypatch, done, cells):
    screen = terminal(monkeypatch)
    with Bars().stage("measure") as advance:
        advance(done, 4)
    last_drawing = screen.getvalue().rpartition("\x1b[?25h")[0].rpartition("measure")[2]
    assert len(re.search("━+", last_drawing).group()) == cells


def test_bars_give_the_cursor_back_when_a_stage_fails(monkeypatch):
    screen = terminal(monkeypatch)
    with pytest.raises(KeyboardInterrupt), Bars().stage("measure"):
        raise KeyboardInterrupt
    drawn = screen.getvalue()
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")
    assert not re.search(r"measure  0\.\d s", visible(drawn))


def test_bars_say_text_as_it_is(monkeypatch):
    screen = terminal(monkeypatch)
    Bars().say("left out: ['encoder.*'] [bold]")
    assert visible(screen.getvalue()) == "left out: ['encoder.*'] [bold]\n"


def test_a_terminal_gets_bars_and_a_log_lines(monkeypatch):
    terminal(monkeypatch)
    assert isinstance(for_stream(), Bars)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(for_stream(), Lines)
