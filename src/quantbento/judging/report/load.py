"""Tables of `bench.json`: speed over batch and length, generation, and load against a running service."""

from __future__ import annotations

from collections import Counter
from typing import Any

from quantbento.judging.report.document import Document, Row
from quantbento.judging.report.table import Cell, Table, fixed, number, size, text


def models(document: Document) -> list[Row]:
    """The measured models, each with the `name` that people are shown."""
    names = _names(document)
    return [{**model, "name": names[_tag(model)]} for model in (document.bench or {}).get("models") or []]


def _names(document: Document) -> dict[str, str]:
    """By tag, the name alone where no two versions of it were measured."""
    tags = [_tag(model) for model in (document.bench or {}).get("models") or []]
    versions = Counter(tag.partition(":")[0] for tag in tags)
    return {tag: tag if versions[name := tag.partition(":")[0]] > 1 else name for tag in tags}


def _tag(model: Row) -> str:
    return str(model.get("name") or model.get("tag") or "model")


def grid(document: Document) -> Table | None:
    """Latency and throughput for every batch size and length."""
    rows = [
        [
            text(model["name"]),
            number(cell.get("batch"), 6),
            number(cell.get("length"), 6),
            *_latency(cell.get("latency_ms")),
            _between(cell.get("throughput"), cell.get("interval")),
            text(cell.get("unit")),
        ]
        for model in models(document)
        for cell in model.get("grid") or []
    ]
    columns = ["model", "batch", "length", "p50 ms", "p90 ms", "p99 ms", "throughput", "unit"]
    return Table("grid", "Speed over batch size and length", columns, rows) if rows else None


def costs(document: Document) -> Table | None:
    """Load time, memory and what a million items cost."""
    rows = [
        [
            text(model["name"]),
            text(model.get("runtime")),
            fixed(model.get("load_seconds"), 2),
            size(model.get("peak_memory_bytes")),
            fixed(model.get("cost_per_million"), 2),
        ]
        for model in models(document)
    ]
    columns = ["model", "runtime", "load s", "memory", "cost per million"]
    return Table("costs", "Loading, memory and cost", columns, rows) if rows else None


def ratios(document: Document) -> Table | None:
    """Paired ratios of speed between models."""
    names = _names(document)
    rows = [
        [
            *(text(names.get(str(ratio.get(end)), ratio.get(end))) for end in ("of", "to")),
            number(ratio.get("batch"), 6),
            number(ratio.get("length"), 6),
            _between(ratio.get("median"), [ratio.get("low"), ratio.get("high")], "x"),
        ]
        for ratio in (document.bench or {}).get("ratios") or []
    ]
    columns = ["model", "compared with", "batch", "length", "times as fast"]
    return Table("ratios", "Speed compared in pairs", columns, rows) if rows else None


def generation(document: Document) -> Table | None:
    """Time to the first token and between tokens."""
    rows = [
        [
            text(model["name"]),
            number(run.get("concurrency"), 6),
            *_latency(run.get("time_to_first_token_ms")),
            *_latency(run.get("inter_token_ms")),
            number(run.get("tokens_per_s"), 4),
        ]
        for model in models(document)
        for run in model.get("generation") or []
    ]
    times = [f"{what} p{p} ms" for what in ("first token", "between tokens") for p in (50, 90, 99)]
    columns = ["model", "concurrent requests", *times, "tokens/s"]
    return Table("generation", "Generated tokens", columns, rows) if rows else None


def served(document: Document) -> Table | None:
    """What a running service answered under load."""
    rows = [
        [
            text(run.get("url")),
            text(run.get("mode")),
            _load(run),
            number(run.get("throughput"), 4),
            *_latency(run.get("latency_ms")),
            number(run.get("failed"), 6),
        ]
        for run in (document.bench or {}).get("served") or []
    ]
    columns = ["service", "loop", "load", "answers/s", "p50 ms", "p90 ms", "p99 ms", "failed"]
    return Table("served", "A running service under load", columns, rows) if rows else None


def _load(run: Row) -> Cell:
    if run.get("rate") is not None:
        return Cell(f"{run['rate']:g} per second", float(run["rate"]))
    return Cell(f"{run['clients']} clients", float(run["clients"])) if run.get("clients") is not None else text(None)


def _latency(found: Row | None) -> list[Cell]:
    return [fixed((found or {}).get(p), 2) for p in ("p50", "p90", "p99")]


def _between(value: Any, between: Any, unit: str = "") -> Cell:
    shown = number(value, 4, unit)
    if not between or shown.order is None or None in between:
        return shown
    return Cell(f"{shown.text} ({between[0]:.4g}-{between[1]:.4g})", shown.order)
