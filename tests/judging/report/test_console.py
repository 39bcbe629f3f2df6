"""What a run prints: every figure of every row, why a variant failed, and complete tags that can be copied."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable
from typing import Any

from quantbento.judging.report import console
from quantbento.judging.rows import ReferenceRow, Report, VariantRow

LONGEST = "a" * 30 + "-" + "b" * 32
SPEEDUP = {"median": 1.5, "p10": 1.4, "p90": 1.6}
PASSED = {"metric": "accuracy", "rule": "min", "limit": 0.9, "value": 0.95, "passed": True}
FAILED = {"metric": "speedup", "rule": "min_speedup", "limit": 2.0, "value": 1.5, "passed": False}


def variant(name: str = "int8", **fields: Any) -> VariantRow:
    return VariantRow(name, "onnx-dynamic", "int8-dynamic", {}, "onnx", **fields)


def measured(name: str = "int8", **fields: Any) -> VariantRow:
    return variant(
        name,
        size_bytes=250_000,
        size_ratio=0.25,
        metrics={"sqnr_db": 31.5, "accuracy": 0.987654},
        recovery={"accuracy": 0.99763},
        throughput=1234.5,
        speedup=SPEEDUP,
        speedup_same_runtime={"median": 1.1, "p10": 1.0, "p90": 1.2},
        latency_ms={"p50": 0.129},
        **fields,
    )


def report(*variants: VariantRow, primary: tuple[str, ...] = ("accuracy", "sqnr_db"), **baseline: Any) -> Report:
    figures = {"metrics": {"accuracy": 0.99, "sqnr_db": 200.0}, "latency_ms": {"p50": 0.4}, **baseline}
    rows = [
        ReferenceRow(name, "torch", 1_000_000, 1.0, throughput=1.0, speedup=SPEEDUP, peak_memory_bytes=1, **figures)
        for name in ("torch-fp32", "torch-bf16")
    ]
    return Report("demo", "tensor", primary, baseline=rows[0], references=rows[1:], variants=list(variants))


def printed(capsys, start: str) -> str:
    """The line of the table that starts with this."""
    lines = [line.strip("│┃ ") for line in capsys.readouterr().out.splitlines()]
    [line] = [line for line in lines if line.startswith(start)]
    return " | ".join(cell.strip() for cell in line.split("│"))


def test_a_variants_row(capsys):
    console.print_report(report(measured(tag="demo-int8:0123456789abcdef", passed=True, gates=[PASSED])))
    assert printed(capsys, "int8") == (
        "int8 | 0.2 MB | 0.250 | 0.9877 | 0.9976 | 1234 | 1.50x (1.40-1.60) | 1.10x (1.00-1.20) | 0.13 | passed 1 | "
        "demo-int8:0123456789abcdef"
    )


def test_a_runtime_without_full_precision_is_said_below_the_table(capsys):
    without = measured(tag="demo-int8:0123456789abcdef", passed=True)
    without.speedup_same_runtime = None
    console.print_report(report(without))
    told = "int8: there is no full precision in the runtime onnx to compare with, only the baseline"
    assert capsys.readouterr().out.splitlines()[-1] == told
    console.print_report(report(measured(passed=True), variant(error="no file")))
    assert "there is no full precision" not in capsys.readouterr().out


def test_baseline_and_references_have_rows(capsys):
    console.print_report(report())
    out = capsys.readouterr().out
    assert out.index("demo (tensor)") < out.index("torch-fp32") < out.index("torch-bf16")
    assert "0.9900" in out


def test_the_first_metric_that_was_measured_is_the_one_shown(capsys):
    console.print_report(report(measured(), metrics={"sqnr_db": 200.0}))
    assert " 31.5000 " in capsys.readouterr().out


def test_a_reused_variant_says_so(capsys):
    console.print_report(report(measured(tag="demo-int8:0123456789abcdef", passed=True, reused=True)))
    assert printed(capsys, "int8").endswith("demo-int8:0123456789abcdef (reused)")


def test_a_failed_variant_is_not_stored_and_says_by_how_much(capsys):
    console.print_report(report(measured(gates=[PASSED, FAILED])))
    out = capsys.readouterr().out
    assert "failed: speedup │ not stored" in out
    assert "int8: min_speedup failed: 1.5 against 2 (0.5 short)" in out.splitlines()


def test_an_error_is_printed_whole_with_its_brackets(capsys):
    error = "the patterns ['encoder.*'] match [nothing] " + "in a model of many layers " * 20
    console.print_report(report(variant(error=error)))
    out = capsys.readouterr().out
    assert "│ error" in out
    assert f"int8: {error}".split() == out[out.index("int8: the") :].split()


def test_a_report_without_figures_prints_dashes(capsys):
    console.print_report(Report("demo", "tensor", variants=[variant()]))
    assert printed(capsys, "int8") == "int8 | - | - | - | - | - | - | - | - | no gates | not stored"


def test_a_log_has_the_longest_tag_on_one_line(capsys):
    tag = f"{LONGEST}:0123456789abcdef"
    console.print_report(report(measured(LONGEST, tag=tag, gates=[PASSED, FAILED])))
    assert tag in capsys.readouterr().out


def test_a_narrow_terminal_loses_no_letter_of_a_tag(monkeypatch):
    tag = f"{LONGEST}:0123456789abcdef"
    out = on_terminal(monkeypatch, lambda: console.print_report(report(measured(tag=tag))))
    assert max(map(len, out.splitlines())) <= 80
    cells = [line.strip("│").split("│")[-1].strip() for line in out.splitlines() if line.startswith("│")]
    assert tag in "".join(cells)


def on_terminal(monkeypatch, show: Callable[[], None]) -> str:
    """The output on a real terminal, without colours, 80 columns wide."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        show()
    text = b""
    while chunk := _read(ours):
        text += chunk
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux: the other end is closed
        return b""


def test_failures_are_the_error_or_each_failed_gate():
    assert console.failures(variant(error="boom", gates=[FAILED])) == ["boom"]
    assert (
        console.failures(variant(gates=[FAILED, PASSED, FAILED]))
        == ["min_speedup failed: 1.5 against 2 (0.5 short)"] * 2
    )
    assert console.failures(variant(gates=[PASSED])) == []


def test_what_was_not_judged_says_what_was_checked_and_what_comes_next(capsys):
    worst = {"layer": "layers.0.up", "sqnr_db": 18.25, "relative_error": 0.12}
    found = {"reconstruction": {"layers": 7, "sqnr_db": {"min": 18.25, "median": 19.5}, "worst": [worst]}}
    row = variant(size_bytes=250_000, judged=False, checked=found, tag="demo-int8:0123456789abcdef")
    console.print_report(Report("demo", "tensor", variants=[row]))
    *_, checked, following = capsys.readouterr().out.splitlines()
    assert checked == (
        "int8: SQNR of the weights against the source's: median 19.5 dB of 7 layers; worst 18.2 dB, layers.0.up"
    )
    assert following == "int8: not judged. Where onnx runs: quantbento judge demo-int8:0123456789abcdef"
