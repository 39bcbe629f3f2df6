"""The plots of variants, as Altair charts in placeholder colours (`palette`). `width` is that of the whole chart."""

from __future__ import annotations

from typing import Any

from quantbento.judging.figures import megabytes
from quantbento.judging.report import labels
from quantbento.judging.report.document import Document
from quantbento.judging.report.palette import PLACEHOLDERS
from quantbento.judging.report.points import REFERENCE, REFUSED, STORED, front, kind_of, points
from quantbento.judging.report.table import words

KINDS = {STORED: "stored", REFUSED: "refused", REFERENCE: "reference"}
NARROW = 480  # below, panels stand one above the other
NAMES, AXIS = 130, 62  # pixels: of the names beside bars, of an axis with its title


def colours(kinds: list[str]) -> Any:
    """A colour for each kind of row, with a legend."""
    import altair as alt

    shown = [kind for kind in KINDS if kind in kinds]
    scale = alt.Scale(domain=shown, range=[PLACEHOLDERS[KINDS[kind]] for kind in shown])
    return alt.Color("kind:N", scale=scale, legend=alt.Legend(title=None, orient="top"))


def pareto(document: Document, width: int) -> Any:
    """Quality against speed: bars from p10 to p90 and of the 95 % interval, a line along the Pareto front, and refused
    variants as crosses. None where nothing was measured."""
    import altair as alt

    found, recovers = points(document)
    if not any(p.kind != REFERENCE for p in found):
        return None
    inner, height = width - AXIS - 20, 400 if width >= NARROW else 320
    x_domain = _domain([p.slow for p in found] + [p.fast for p in found])
    y_domain = _domain([p.low for p in found] + [p.high for p in found])
    pixels = [(_scaled(p.speed, x_domain, inner), height - _scaled(p.quality, y_domain, height)) for p in found]
    named = [p.name if width >= NARROW or p.kind != REFERENCE else "" for p in found]  # a phone has no room for all
    middles = labels.place(pixels, named, inner, height)
    rows = [
        vars(p) | {"label": name, "at": _unscaled(x, x_domain, inner), "up": _unscaled(height - y, y_domain, height)}
        for p, name, (x, y) in zip(found, named, middles, strict=True)
    ]
    of = f"recovery of {words(document.primary)}" if recovers else words(document.primary)
    few = alt.Axis(tickCount=max(4, inner // 90))
    x = alt.X("speed:Q", title="times as fast as the baseline", axis=few, scale=alt.Scale(domain=x_domain, nice=False))
    form = "" if not recovers else ".1%" if y_domain[1] - y_domain[0] > 0.012 else ".2%"
    grid = alt.Axis(tickCount=7, format=form)
    y = alt.Y("quality:Q", title=of, scale=alt.Scale(domain=y_domain, nice=False), axis=grid)
    colour = colours([p.kind for p in found])
    base = alt.Chart(alt.Data(values=rows)).encode(color=colour)
    forms = dict(zip(KINDS, ("circle", "cross", "square"), strict=True))
    shown = [kind for kind in KINDS if kind in {p.kind for p in found}]
    scale = alt.Scale(domain=shown, range=[forms[kind] for kind in shown])
    shape = alt.Shape("kind:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    edge = front(found, 1 if recovers else document.better.get(document.primary, 1))
    line = alt.Chart(alt.Data(values=[vars(p) for p in edge])).mark_line(
        color=PLACEHOLDERS["muted"], strokeDash=[4, 4], strokeWidth=1
    )
    layers = [
        line.encode(x=x, y=y, order="speed:Q"),
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(x="slow:Q", x2="fast:Q", y="quality:Q"),
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y="low:Q", y2="high:Q", x="speed:Q"),
        base.mark_rule(strokeWidth=0.6, opacity=0.6).encode(x="speed:Q", y="quality:Q", x2="at:Q", y2="up:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(x=x, y=y, shape=shape),
        # A halo in the colour of the page keeps a name legible where a line crosses it.
        base.mark_text(stroke=PLACEHOLDERS["page"], strokeWidth=4, fontSize=11).encode(
            x="at:Q", y="up:Q", text="label:N", color=alt.value(PLACEHOLDERS["page"])
        ),
        base.mark_text(fontSize=11).encode(x="at:Q", y="up:Q", text="label:N", color=alt.value(PLACEHOLDERS["ink"])),
    ]
    return alt.layer(*layers).properties(width=inner, height=height)


def bars(document: Document, width: int) -> Any:
    """Bars of size, latency and memory of every row. None where nothing was measured."""
    import altair as alt

    rows = [*document.variants, *document.full_precision]
    panels = []
    for title, values in (
        ("size", [(row, row.get("size_bytes"), megabytes) for row in rows]),
        ("latency, p50 ms", [(row, (row.get("latency_ms") or {}).get("p50"), "{:.2f}".format) for row in rows]),
        ("peak memory", [(row, row.get("peak_memory_bytes"), megabytes) for row in rows]),
    ):
        measured = [
            {"name": row["name"], "kind": kind_of(row), "value": value, "shown": form(value)}
            for row, value, form in values
            if value
        ]
        if measured:
            panels.append((title, measured))
    if not panels:
        return None
    order = [row["name"] for row in rows]
    stacked = width < NARROW
    inner = width - NAMES - 70 if stacked else (width - NAMES - 60 * len(panels)) // len(panels)
    charts = []
    for i, (title, measured) in enumerate(panels):
        axis = alt.Axis(title=None, labels=stacked or i == 0, ticks=False, domain=False, labelLimit=NAMES)
        top = max(row["value"] for row in measured)
        x = alt.X("value:Q", title=None, axis=None, scale=alt.Scale(domain=[0, top]))
        base = alt.Chart(alt.Data(values=measured)).encode(x=x, y=alt.Y("name:N", sort=order, axis=axis))
        drawn = base.mark_bar(height={"band": 0.7}).encode(color=colours([row["kind"] for row in measured]))
        shown = base.mark_text(align="left", dx=4, fontSize=11, color=PLACEHOLDERS["ink"]).encode(text="shown:N")
        charts.append((drawn + shown).properties(width=inner, height=alt.Step(20), title=title))
    return alt.concat(*charts, columns=1 if stacked else len(charts), spacing=12)


def _domain(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - room, high + room]


def _scaled(value: float, domain: list[float], pixels: float) -> float:
    return (value - domain[0]) / (domain[1] - domain[0]) * pixels


def _unscaled(pixel: float, domain: list[float], pixels: float) -> float:
    return domain[0] + pixel / pixels * (domain[1] - domain[0])
