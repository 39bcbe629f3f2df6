"""The table at the end of a run."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from quantbento.judging.rows import ReferenceRow, Report, VariantRow
from quantbento.recipe.gates import GateResult

WIDTH_OF_A_LOG = 400  # more than any table needs, so that no line of a log is folded


def print_report(report: Report) -> None:
    """Prints one row for the baseline, each reference and each variant; below the table, what failed and why."""
    table = Table(title=f"{report.recipe} ({report.task})", title_justify="left", pad_edge=False)
    fidelity = _primary(report)
    for name, justify in (
        ("variant", "left"),
        ("size", "right"),
        ("ratio", "right"),
        (fidelity or "fidelity", "right"),
        ("recovery", "right"),
        (report.throughput_unit, "right"),
        ("speedup (p10-p90)", "right"),
        ("same runtime", "right"),
        ("p50 ms", "right"),
        ("gates", "left"),
        ("tag", "left"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in filter(None, [report.baseline, *report.references]):
        table.add_row(*_figures(row, fidelity), "", "")
    table.add_section()
    for variant in report.variants:
        gates = "error" if variant.error else verdict(variant.gates)
        table.add_row(*_figures(variant, fidelity), gates, _tag(variant))
    console = wide_console()
    console.print(table)
    for variant in report.variants:
        for line in [*failures(variant), *_without_reference(variant)]:
            console.print(f"{variant.name}: {line}", highlight=False, markup=False)


def failures(variant: VariantRow) -> list[str]:
    """Why a variant is not stored, one line per reason."""
    if variant.error:
        return [variant.error]
    return [str(GateResult(**gate)) for gate in variant.gates if not gate["passed"]]


def _without_reference(variant: VariantRow) -> list[str]:
    if variant.speedup is None or variant.speedup_same_runtime is not None:
        return []
    return [f"there is no full precision in the runtime {variant.runtime} to compare with, only the baseline"]


def megabytes(size: int | None) -> str:
    if size is None:
        return "-"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def wide_console() -> Console:
    """A console for tables: as wide as the terminal, or in a log as wide as a table needs."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH_OF_A_LOG)


def speed(speedup: dict[str, float] | None) -> str:
    if not speedup:
        return "-"
    return f"{speedup['median']:.2f}x ({speedup['p10']:.2f}-{speedup['p90']:.2f})"


def verdict(gates: list[dict[str, Any]]) -> str:
    """Which gates failed, or how many passed."""
    failed = [g["metric"] for g in gates if not g["passed"]]
    return f"failed: {', '.join(failed)}" if failed else f"passed {len(gates)}"


def _primary(report: Report) -> str:
    measured = report.baseline.metrics if report.baseline else {}
    return next((name for name in report.primary if name in measured), "")


def _figures(row: ReferenceRow | VariantRow, fidelity: str) -> list[str]:
    ratio = "-" if row.size_ratio is None else f"{row.size_ratio:.3f}"
    value = row.metrics.get(fidelity)
    recovery = getattr(row, "recovery", {}).get(fidelity)
    latency = row.latency_ms.get("p50")
    return [
        row.name,
        megabytes(row.size_bytes),
        ratio,
        "-" if value is None else f"{value:.4f}",
        "-" if recovery is None else f"{recovery:.4f}",
        "-" if row.throughput is None else f"{row.throughput:.0f}",
        speed(row.speedup),
        speed(getattr(row, "speedup_same_runtime", None)),
        "-" if latency is None else f"{latency:.2f}",
    ]


def _tag(variant: VariantRow) -> str:
    if variant.tag is None:
        return "not stored"
    return f"{variant.tag} (reused)" if variant.reused else variant.tag
