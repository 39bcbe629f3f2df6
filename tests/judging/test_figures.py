"""Figures as short texts; without gates nothing is called passed."""

from __future__ import annotations

import pytest

from quantbento.judging import figures
from quantbento.judging.rows import VariantRow


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "-"), (0, "0.0 kB"), (99_949, "99.9 kB"), (100_000, "0.1 MB"), (1_234_567, "1.2 MB")],
)
def test_megabytes(size, text):
    assert figures.megabytes(size) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [([], "no gates"), ([True], "passed 1"), ([True, False, False], "failed: b, c")],
    ids=["none", "passed", "failed"],
)
def test_verdict(passed, text):
    gates = [{"metric": metric, "passed": ok} for metric, ok in zip("abc", passed, strict=False)]
    assert figures.verdict(gates) == text


def test_what_was_not_judged_is_called_so():
    row = VariantRow("int4", "rtn", "W4A16", {}, "vllm", judged=False)
    assert figures.outcome(row) == "not judged here"
    row.error = "no memory"
    assert figures.outcome(row) == "error"
