"""What a table of the page is made of, and how numbers are written in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from quantbento.judging.figures import megabytes

ROUNDING = 1e-6  # of shares that float32 computed


@dataclass(frozen=True)
class Cell:
    """A cell's text; `order` is what its column is sorted by, the text where it is None; `kind` says how it is shown:
    good, bad, plain or code."""

    text: str
    order: float | None = None
    kind: str = "plain"


@dataclass
class Table:
    """A table.

    Attributes:
        name: unique on the page; in its id and in links.
        caption: what the rows are.
        columns: headings; the first column names its row.
        rows: as many cells each as there are columns.
        note: a sentence below it.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers, which stand at its right."""
        found = [row[column] for row in self.rows if row[column].text != "-"]
        return bool(found) and all(cell.order is not None for cell in found)


def text(value: Any, kind: str = "plain") -> Cell:
    return Cell("-" if value in (None, "") else str(value), kind=kind)


def number(value: Any, digits: int = 4, unit: str = "") -> Cell:
    """A number with so many significant digits; a dash where there is none."""
    if not _is_number(value):
        return text(value)
    form = f".{digits}g" if abs(value) < 10**digits else ",.0f"  # no 1.09e+03
    return Cell(f"{value:{form}}{unit}", float(value))


def fixed(value: Any, places: int, unit: str = "") -> Cell:
    """A number with so many decimal places; a dash where there is none."""
    return Cell(f"{value:,.{places}f}{unit}", float(value)) if _is_number(value) else text(value)


def percent(value: Any, places: int = 2) -> Cell:
    """A share. It has more places where it would be rounded to a whole that it is not; the rounding of float32 is no
    difference."""
    if not _is_number(value):
        return text(value)
    while abs(value - 1) > ROUNDING and float(f"{100 * value:.{places}f}") == 100:
        places += 1
    return Cell(f"{100 * value:.{places}f} %", float(value))


def size(value: Any) -> Cell:
    return Cell(megabytes(value), float(value)) if _is_number(value) else text(None)


def ratio(value: dict[str, float] | None) -> Cell:
    """A median of paired ratios with its 10th and 90th percentile."""
    if not value:
        return text(None)
    return Cell(f"{value['median']:.2f}x ({value['p10']:.2f}-{value['p90']:.2f})", value["median"])


def interval(value: Any, between: Sequence[float] | None, digits: int = 4) -> Cell:
    """A number with its 95 % interval."""
    shown = number(value, digits)
    if not between or shown.order is None:
        return shown
    return Cell(f"{shown.text} [{between[0]:.{digits}g}, {between[1]:.{digits}g}]", shown.order)


def yes(value: bool | None, good: str = "yes", bad: str = "no") -> Cell:
    """Whether something held."""
    if value is None:
        return text(None)
    return Cell(good if value else bad, kind="good" if value else "bad")


def words(name: str) -> str:
    """A field's or a metric's name as people read it: `mean_cosine` is "mean cosine"."""
    return name.replace("_", " ")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
