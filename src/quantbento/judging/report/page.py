"""`report.html`: one file that asks the network for nothing, and the plots as files beside it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from quantbento.judging.report import evidence, generation, load, palette, plots, tables
from quantbento.judging.report.document import Document, read
from quantbento.judging.report.plots import Plot
from quantbento.judging.report.sentence import summary
from quantbento.judging.report.table import Table
from quantbento.judging.report.writing import replace_file

PAGE, PLOTS = "report.html", "plots"
STATIC = Path(__file__).parent / "static"


@dataclass
class Section:
    """A heading with its plots and tables."""

    name: str
    title: str
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """The page, and what would have to be installed for all of it."""

    path: Path
    notes: list[str]


def write(report: Path) -> Written:
    """Writes `report.html` and `plots/` beside a `report.json`. Without the packages that plots need, the page has
    none, and a note says what to install.

    Raises:
        QuantbentoError: the report cannot be read.
    """
    document = read(report)
    note = plots.missing()
    drawn = [] if note else plots.draw(document)
    if not note:
        plots.write(drawn, report.parent / PLOTS)
    path = report.with_name(PAGE)
    replace_file(path, render(document, drawn, note).encode())
    return Written(path, [note] if note else [])


def render(document: Document, drawn: list[Plot], note: str | None = None) -> str:
    """The page. Every text of the report is escaped; the plots' texts are, by the library that drew them."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True)
    environment.filters["inline"] = lambda plot, width: Markup(plots.inline(plot, width))
    style, script = _static("report.css"), _static("sort.js")
    return environment.get_template("report.html.jinja").render(
        document=document,
        summary=summary(document),
        sections=sections(document, drawn),
        commands=document.provenance.get("commands") or [],
        note=note,
        light=Markup(palette.declarations(palette.LIGHT)),
        dark=Markup(palette.declarations(palette.DARK)),
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def sections(document: Document, drawn: list[Plot]) -> list[Section]:
    """The sections that there are data for, in the order of the page."""
    by_name = {plot.name: plot for plot in drawn}
    layers = [t for s in document.sensitivity for t in (evidence.layers(s), evidence.attention(s))]
    found = [
        _section("overview", "Variants", [by_name.get("pareto")], [tables.variants(document)]),
        _section("gates", "Gates", [], [tables.gates(document)]),
        _section("cost", "Size, latency and memory", [by_name.get("bars")], [load.costs(document)]),
        _section(
            "quality",
            "Quality",
            [],
            [
                tables.metrics(document),
                evidence.lm_eval(document),
                evidence.divergence(document),
                generation.adapters(document),
                evidence.groups(document),
                evidence.worst(document),
            ],
        ),
        _section(
            "speed",
            "Speed and load",
            [by_name.get("throughput"), by_name.get("latency"), by_name.get("load")],
            [
                load.grid(document),
                load.ratios(document),
                load.generation(document),
                load.served(document),
                generation.decoding(document),
            ],
        ),
        _section("robustness", "Robustness", [], [evidence.robustness(document)]),
        _section("layers", "Layers", [p for p in drawn if p.name.startswith("sensitivity-")], layers),
        _section("mixed-precision", "Mixed precision", [], [evidence.mixed(document)]),
        _section("ablation", "Ablation", [], [evidence.ablation(document)]),
        _section("making", "How they were made", [], [tables.quantized(document), tables.reconstruction(document)]),
        _section("origin", "Origin", [], [tables.provenance(document), tables.environment(document)]),
    ]
    return [section for section in found if section.plots or any(table.rows for table in section.tables)]


def _section(name: str, title: str, shown: list[Plot | None], rows: list[Table | None]) -> Section:
    return Section(name, title, [plot for plot in shown if plot], [table for table in rows if table])


@cache
def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
