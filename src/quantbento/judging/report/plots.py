"""The plots of a report, each drawn wide and narrow, as SVG. It takes no browser, and no JavaScript is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from quantbento.core.machine import missing_packages
from quantbento.judging.report import charts, curves, palette
from quantbento.judging.report.document import Document
from quantbento.judging.report.points import REFUSED, front, points
from quantbento.judging.report.table import words
from quantbento.judging.report.writing import replace_file

PACKAGES = ("altair", "vl_convert")
WIDE, NARROW = 1120, 340  # pixels: a page's column on a desk, and on a phone
SCALE = 2  # of the PNG files, for sharp screens


@dataclass(frozen=True)
class Plot:
    """A drawn plot, with `palette`'s placeholders as colours.

    Attributes:
        name: of its files.
        title: above it.
        says: what it shows, in words; its text for people who do not see it.
        wide, narrow: SVG.
    """

    name: str
    title: str
    says: str
    wide: str
    narrow: str


def missing() -> str | None:
    """What to install for plots; None where nothing is missing."""
    absent = missing_packages(PACKAGES)
    if not absent:
        return None
    return f"plots need {' and '.join(absent)}: pip install 'quantbento[quantize]'"


def draw(document: Document) -> list[Plot]:
    """Every plot that there are data for. `missing` must be None."""
    pairs: list[tuple[str, str, str, Callable[[int], Any]]] = [
        ("pareto", "Quality against speed", _pareto_says(document), partial(charts.pareto, document)),
        ("bars", "Of each variant, and of full precision", _bars_say(document), partial(charts.bars, document)),
        (
            "throughput",
            "Throughput over the batch size",
            "Lines of throughput over batch size. The table below has the figures.",
            partial(curves.throughput, document),
        ),
        (
            "latency",
            "Latency over the length",
            "Lines of latency over length. The table below has the figures.",
            partial(curves.latency, document),
        ),
        (
            "load",
            "Latency against load",
            "Lines of latency over answers per second. The table below has the figures.",
            partial(curves.under_load, document),
        ),
    ]
    for sensitivity in document.sensitivity:
        name = str(sensitivity.get("variant") or "variant")
        says = f"A map of what each layer of {name} costs. The table below lists the layers that cost most."
        chart = partial(curves.heat_map, sensitivity)
        pairs.append((f"sensitivity-{_plain(name)}", f"{name}: what each layer alone costs", says, chart))
    return [plot for name, title, says, chart in pairs if (plot := _plot(name, title, says, chart))]


def write(drawn: list[Plot], folder: Path) -> None:
    """Writes `<name>.svg` and `<name>.png` of every plot, in light colours, and removes those of an earlier report."""
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{plot.name}{suffix}" for plot in drawn for suffix in (".svg", ".png")}
    for plot in drawn:
        svg = palette.light(plot.wide)
        replace_file(folder / f"{plot.name}.svg", svg.encode())
        replace_file(folder / f"{plot.name}.png", vl_convert.svg_to_png(svg, scale=SCALE))
    for old in folder.iterdir():
        if old.suffix in (".svg", ".png") and old.name not in wanted:
            old.unlink()


def inline(plot: Plot, width: str) -> str:
    """The SVG for the page: colours are CSS variables, and its ids are unique there."""
    svg = palette.variables(plot.wide if width == "wide" else plot.narrow)
    svg = re.sub(r'\b(id="|url\(#)', rf"\g<1>{plot.name}-{width}-", svg)
    svg = re.sub(r'\s(?:role|aria-[a-z]+|xmlns:xlink)="[^"]*"', "", svg)  # the picture as a whole has a text instead
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _plot(name: str, title: str, says: str, chart: Callable[[int], Any]) -> Plot | None:
    drawn = [_svg(found) for width in (WIDE, NARROW) if (found := chart(width)) is not None]
    return Plot(name, title, says, *drawn) if drawn else None


def _svg(chart: Any) -> str:
    import vl_convert

    colours = palette.PLACEHOLDERS
    text = {"labelColor": colours["muted"], "titleColor": colours["ink"], "titleFontWeight": "normal"}
    line = {"gridColor": colours["line"], "tickColor": colours["line"], "domainColor": colours["line"]}
    sizes = {"labelFontSize": 11, "titleFontSize": 12}
    spec = chart.to_dict()
    spec["config"] = {
        "background": colours["page"],
        "font": "sans-serif",
        "view": {"stroke": None},
        "axis": {**text, **line, **sizes},
        "legend": {**text, **sizes, "labelColor": colours["ink"], "symbolStrokeWidth": 1},
        "title": {"color": colours["ink"], "fontSize": 12, "fontWeight": "normal", "anchor": "start"},
    }
    return vl_convert.vegalite_to_svg(spec)


def _pareto_says(document: Document) -> str:
    found, recovers = points(document)
    best = front(found, 1 if recovers else document.better.get(document.primary, 1))
    refused = [p.name for p in found if p.kind == REFUSED]
    of = f"the recovery of {words(document.primary)}" if recovers else words(document.primary)
    said = f"A plot of {of} against the speedup over the baseline. Not beaten in both: "
    said += f"{', '.join(p.name for p in best) or 'none'}."
    return f"{said} Refused: {', '.join(refused)}." if refused else said


def _bars_say(document: Document) -> str:
    sizes = {row["name"]: row["size_bytes"] for row in document.variants if row.get("size_bytes")}
    if not sizes:
        return "Bars of size, latency and memory."
    smallest = min(sizes, key=lambda name: sizes[name])
    return f"Bars of size, latency and memory of each variant and of full precision. The smallest is {smallest}."


def _plain(name: str) -> str:
    """A name that is a file's name on every system."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-") or "variant"
