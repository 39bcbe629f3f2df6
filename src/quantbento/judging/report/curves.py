"""The plots of `bench.json` and of `sensitivity-*.json`, as Altair charts; see `charts`."""

from __future__ import annotations

import re
from typing import Any

from quantbento.judging.report import load
from quantbento.judging.report.document import Document, Row
from quantbento.judging.report.palette import PLACEHOLDERS, series
from quantbento.judging.report.table import words

MOST_LENGTHS, MOST_BLOCKS, MOST_ROLES, MOST_BARS = 4, 40, 48, 20
SHADES = 5
AXIS = 70  # pixels of an axis with its title


def throughput(document: Document, width: int) -> Any:
    """Throughput over the batch size, one panel for each length. None where fewer than two sizes were measured."""
    import altair as alt

    rows = _grid(document)
    if len({row["batch"] for row in rows}) < 2:
        return None
    lengths = sorted({row["length"] for row in rows}, key=lambda length: (length is None, length))
    lengths = [lengths[i * (len(lengths) - 1) // max(1, MOST_LENGTHS - 1)] for i in range(MOST_LENGTHS)]
    panels = []
    for length in dict.fromkeys(lengths):
        own = [row for row in rows if row["length"] == length]
        title = "" if length is None else f"length {length}"
        x = alt.X("batch:Q", title="batch size", scale=alt.Scale(type="log", base=2), axis=_at(own, "batch"))
        panels.append(_lines(own, x, alt.Y("throughput:Q", title=own[0]["unit"]), title))
    return _side_by_side(panels, width)


def latency(document: Document, width: int) -> Any:
    """Latency over the length, one panel for the smallest and the largest batch. None for fewer than two lengths."""
    import altair as alt

    rows = [row for row in _grid(document) if row["p50"] is not None and row["length"] is not None]
    if len({row["length"] for row in rows}) < 2:
        return None
    batches = sorted({row["batch"] for row in rows})
    panels = []
    for batch in dict.fromkeys((batches[0], batches[-1])):
        own = [{**row, "low": None, "high": None} for row in rows if row["batch"] == batch]  # those are throughputs
        x = alt.X("length:Q", title="length", scale=alt.Scale(type="log", base=2), axis=_at(own, "length"))
        panels.append(_lines(own, x, alt.Y("p50:Q", title="p50 ms"), f"batch of {batch}"))
    return _side_by_side(panels, width)


def under_load(document: Document, width: int) -> Any:
    """Latency against the answers per second of a running service. None where no service was measured."""
    import altair as alt

    rows = [
        {"name": f"{run.get('mode')}, {p}", "throughput": run.get("throughput"), "ms": run["latency_ms"][p]}
        for run in (document.bench or {}).get("served") or []
        for p in ("p50", "p99")
        if (run.get("latency_ms") or {}).get(p) is not None and run.get("throughput") is not None
    ]
    if len(rows) < 4:  # one load is a figure, not a curve
        return None
    x = alt.X("throughput:Q", title="answers per second")
    y = alt.Y("ms:Q", title="latency, ms", scale=alt.Scale(type="log"))
    return _side_by_side([_lines(rows, x, y, "")], min(width, 560))


def heat_map(sensitivity: Row, width: int) -> Any:
    """What each layer costs: blocks of the model from left to right, kinds of layers from top to bottom; bars of the
    worst layers where names do not tell blocks. None without layers."""
    import altair as alt

    rows = _layers(sensitivity)
    if not rows:
        return None
    title = f"loss of {words(sensitivity.get('metric') or 'metric')}"
    blocks, roles = list(dict.fromkeys(r["block"] for r in rows)), list(dict.fromkeys(r["role"] for r in rows))
    if len(blocks) > MOST_BLOCKS or len(roles) > MOST_ROLES or len(roles) * 2 > len(rows):
        return _worst_bars(rows, title, width)
    names = min(7 * max(map(len, roles)), 260 if width > 480 else 120)
    step = min(36, (width - names - 20) // len(blocks))
    shades = [PLACEHOLDERS[f"heat-{i + 1}"] for i in range(SHADES)]
    scale = alt.Scale(
        type="quantize", domain=[min(r["drop"] for r in rows), max(r["drop"] for r in rows)], range=shades
    )
    legend = alt.Legend(title=title, orient="top", format=".2g")
    x = alt.X("block:O", title="block", sort=blocks, axis=alt.Axis(labelAngle=0, ticks=False))
    y = alt.Y("role:N", title=None, sort=roles, axis=alt.Axis(labelLimit=names, ticks=False))
    chart = alt.Chart(alt.Data(values=rows)).mark_rect(stroke=PLACEHOLDERS["page"], strokeWidth=1)
    chart = chart.encode(x=x, y=y, color=alt.Color("drop:Q", scale=scale, legend=legend))
    return chart.properties(width=alt.Step(step), height=alt.Step(20))


def _worst_bars(rows: list[Row], title: str, width: int) -> Any:
    import altair as alt

    worst = sorted(rows, key=lambda row: -row["drop"])[:MOST_BARS]
    names = 260 if width > 480 else 140
    y = alt.Y("name:N", title=None, sort=[row["name"] for row in worst], axis=alt.Axis(labelLimit=names, ticks=False))
    chart = alt.Chart(alt.Data(values=worst)).mark_bar(color=PLACEHOLDERS["refused"])
    chart = chart.encode(x=alt.X("drop:Q", title=title), y=y)
    return chart.properties(width=width - names - 30, height=alt.Step(20))


def _layers(sensitivity: Row) -> list[Row]:
    """The layers that were measured, in the model's order. Where all numbered blocks are of one stack, a number is the
    name of a block."""
    found = [layer for layer in sensitivity.get("layers") or [] if layer.get("drop") is not None]
    found.sort(key=lambda layer: layer.get("order") or 0)
    numbered = {block: re.fullmatch(r"(.*?)(\d+)", block) for block in (layer.get("block") or "" for layer in found)}
    one_stack = len({match[1] for match in numbered.values() if match}) == 1
    rows = []
    for layer in found:
        block = layer.get("block") or ""
        match = numbered[block]
        name = str(layer.get("module") or layer.get("name"))
        row = {"name": name, "block": match[2] if one_stack and match else block or "-"}
        rows.append(row | {"role": str(layer.get("kind") or name), "drop": max(0.0, float(layer["drop"]))})
    return rows


def _grid(document: Document) -> list[Row]:
    rows = []
    for model in load.models(document):
        for cell in model.get("grid") or []:
            low, high = cell.get("interval") or (None, None)
            row = {"name": model["name"], "batch": cell.get("batch"), "length": cell.get("length")}
            row |= {"throughput": cell.get("throughput"), "unit": cell.get("unit") or "inputs/s"}
            row |= {"low": low, "high": high, "p50": (cell.get("latency_ms") or {}).get("p50")}
            if row["batch"] and row["throughput"]:
                rows.append(row)
    return rows


def _at(rows: list[Row], name: str) -> Any:
    """An axis with marks where there are points."""
    import altair as alt

    return alt.Axis(values=sorted({row[name] for row in rows}), format="d", grid=False)


def _lines(rows: list[Row], x: Any, y: Any, title: str) -> Any:
    """A line with points for each name, and bars of the interval where there is one."""
    import altair as alt

    names = list(dict.fromkeys(row["name"] for row in rows))
    scale = alt.Scale(domain=names, range=series(len(names)))
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=320)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, color=alt.Color("name:N", scale=scale, legend=legend))
    line = base.mark_line(strokeWidth=2, point={"size": 40}).encode(y=y, detail="name:N")
    layers = [line]
    if any(row.get("low") is not None for row in rows):
        layers.append(base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q"))
    return alt.layer(*layers).properties(title=title)


def _side_by_side(panels: list[Any], width: int) -> Any:
    import altair as alt

    columns = len(panels) if width > 480 else 1
    inner = max(90, (width - 20) // columns - AXIS)
    sized = [panel.properties(width=inner, height=200) for panel in panels]
    return alt.concat(*sized, columns=columns)
