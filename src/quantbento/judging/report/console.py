"""The table at the end of a run."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from quantbento.judging import figures
from quantbento.judging.report.doubts import doubts
from quantbento.judging.report.language import language_tables
from quantbento.judging.rows import Report, VariantRow
from quantbento.recipe.gates import GateResult

WIDTH_OF_A_LOG = 400  # more than any table needs, so that no line of a log is folded
TEXTS = ("variant", "gates", "tag")  # columns that are no figures


def print_report(report: Report) -> None:
    """Prints one row for the baseline, each reference and each variant; below the table, what failed and why."""
    table = Table(title=f"{report.recipe} ({report.task})", title_justify="left", pad_edge=False)
    fidelity = figures.primary(report)
    for name in figures.headings(report):
        table.add_column(name, justify="left" if name in TEXTS else "right", overflow="fold")
    for row in filter(None, [report.baseline, *report.references]):
        table.add_row(*figures.cells(row, fidelity), "", "")
    table.add_section()
    for variant in report.variants:
        table.add_row(*figures.cells(variant, fidelity), figures.outcome(variant), figures.tag(variant))
    console = wide_console()
    console.print(table)
    for more in language_tables(report):
        console.print(more)
    for variant in report.variants:
        for line in [
            *failures(variant),
            *_reconstruction(variant),
            *doubts(report, variant, fidelity),
            *_without_reference(variant),
        ]:
            console.print(f"{variant.name}: {line}", highlight=False, markup=False)


def failures(variant: VariantRow) -> list[str]:
    """Why a variant is not stored, one line per reason."""
    if variant.error:
        return [variant.error]
    return [str(GateResult(**gate)) for gate in variant.gates if not gate["passed"]]


def _reconstruction(variant: VariantRow) -> list[str]:
    """What was checked of a variant that was only made, and what comes next."""
    if variant.judged or variant.error or not variant.checked:
        return []
    found = variant.checked.get("reconstruction")
    lines = []
    if found:
        worst = found["worst"][0]
        lines.append(
            f"SQNR of the weights against the source's: median {found['sqnr_db']['median']:.1f} dB of "
            f"{found['layers']} layers; worst {worst['sqnr_db']:.1f} dB, {worst['layer']}"
        )
    if variant.tag:
        lines.append(f"not judged. Where {variant.runtime} runs: quantbento judge {variant.tag}")
    return lines


def wide_console() -> Console:
    """A console for tables: as wide as the terminal, or in a log as wide as a table needs."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH_OF_A_LOG)


def _without_reference(variant: VariantRow) -> list[str]:
    if variant.speedup is None or variant.speedup_same_runtime is not None:
        return []
    return [f"there is no full precision in the runtime {variant.runtime} to compare with, only the baseline"]
