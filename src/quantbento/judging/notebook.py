"""A report's table in a notebook. `Report` shows itself with this, so its module is not imported here."""

from __future__ import annotations

from html import escape
from typing import Any

from quantbento.judging import figures


def table(report: Any) -> str:
    """An HTML table with one row for the baseline, each reference and each variant. Everything is escaped."""
    fidelity = figures.primary(report)
    rows = [[*figures.cells(row, fidelity), "", ""] for row in filter(None, [report.baseline, *report.references])]
    rows += [[*figures.cells(v, fidelity), figures.outcome(v), figures.tag(v)] for v in report.variants]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in figures.headings(report))
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    title = f"<caption>{escape(report.recipe)} ({escape(report.task)})</caption>"
    errors = "".join(f"<p>{escape(v.name)}: {escape(v.error)}</p>" for v in report.variants if v.error)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{errors}"
