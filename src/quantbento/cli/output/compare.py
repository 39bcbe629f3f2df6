"""Two reports side by side: the table and the JSON of `quantbento compare`."""

from __future__ import annotations

import json

from rich.table import Table
from rich.text import Text

from quantbento.judging.figures import megabytes
from quantbento.judging.report.compare import Change, Comparison
from quantbento.judging.report.console import wide_console

STYLES = {"better": "green", "worse": "red", "changed": "yellow", "same": ""}


def print_comparison(found: Comparison, everything: bool = False) -> None:
    """Prints what changed beyond noise, what appeared and what is gone, and how the environments differ."""
    console = wide_console()
    shown = [change for change in found.changes if everything or change.verdict != "same"]
    if shown:
        table = Table(pad_edge=False)
        for name in ("variant", "figure", "before", "after", "change", "noise", "verdict"):
            table.add_column(name, overflow="fold")
        for change in shown:
            cells = [change.row, change.figure, *_values(change), change.noise]
            table.add_row(*(Text(cell) for cell in cells), Text(change.verdict, style=STYLES[change.verdict]))
        console.print(table)
    lines = [*found.notes]
    if found.appeared:
        lines.append(f"appeared: {', '.join(found.appeared)}")
    if found.gone:
        lines.append(f"gone: {', '.join(found.gone)}")
    lines += [f"environment: {name}: {before} -> {after}" for name, before, after in found.environment]
    counts = {kind: sum(change.verdict == kind for change in found.changes) for kind in STYLES}
    lines.append(", ".join(f"{count} {kind}" for kind, count in counts.items()) + " (beyond noise)")
    for line in lines:
        console.print(line, highlight=False, markup=False)


def print_comparison_json(found: Comparison) -> None:
    print(json.dumps(found.as_json(), indent=2))


def _values(change: Change) -> tuple[str, str, str]:
    before, after = _shown(change.figure, change.before), _shown(change.figure, change.after)
    if not isinstance(change.before, int | float) or not isinstance(change.after, int | float) or not change.before:
        return before, after, "-"
    return before, after, f"{change.after / change.before - 1:+.2%}"


def _shown(figure: str, value: float | str | None) -> str:
    if figure.endswith("_bytes") and isinstance(value, int):
        return megabytes(value)
    return f"{value:.5g}" if isinstance(value, int | float) else str(value)
