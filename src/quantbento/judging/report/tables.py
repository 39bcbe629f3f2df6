"""The tables that every report has: the variants, their gates, metrics and layers, and the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from quantbento.judging.figures import NO_GATES, NOT_JUDGED, verdict
from quantbento.judging.report.document import Document, Row
from quantbento.judging.report.table import (
    Cell,
    Table,
    fixed,
    interval,
    number,
    percent,
    ratio,
    size,
    text,
    words,
    yes,
)
from quantbento.judging.rows import is_unjudged

FULL_PRECISION = "full precision"


def variants(document: Document) -> Table:
    """One row for the baseline, each reference and each variant. What decides comes first: a phone shows that."""
    columns = ["variant", "gates", "recovery", "speedup (p10-p90)", "size", "of baseline", "p50 ms", document.unit]
    columns += [words(document.primary) or "quality", "over same runtime", "memory", "load s", "scheme", "runtime"]
    table = Table("variants", "All variants, and full precision", columns)
    for row in [*document.variants, *document.full_precision]:
        table.rows.append(
            [
                text(row["name"]),
                _outcome(row),
                percent(document.quality(row)),
                ratio(row.get("speedup")),
                size(row.get("size_bytes")),
                percent(row.get("size_ratio"), 0),
                fixed((row.get("latency_ms") or {}).get("p50"), 2),
                number(row.get("throughput"), 3),
                number((row.get("metrics") or {}).get(document.primary), 5),
                ratio(row.get("speedup_same_runtime")),
                size(row.get("peak_memory_bytes")),
                fixed(row.get("load_seconds"), 2),
                text(row.get("scheme") or FULL_PRECISION),
                text(row.get("runtime")),
            ]
        )
    return table


def gates(document: Document) -> Table | None:
    """Every gate with its value, its limit and the distance between them."""
    rows = [
        [
            text(variant["name"]),
            text(f"{gate['rule']} {words(gate['metric'])}" if gate["metric"] not in gate["rule"] else gate["rule"]),
            number(gate.get("limit"), 6),
            interval(gate.get("value"), gate.get("interval"), 6),
            _margin(gate),
            _gate_outcome(gate),
        ]
        for variant in document.variants
        for gate in variant.get("gates") or []
    ]
    if not rows:
        return None
    asked = [v for v in document.variants if not v.get("error") and not is_unjudged(v)]
    without = [v["name"] for v in asked if not v.get("gates")]
    note = f"Without gates, so nothing was checked: {', '.join(without)}." if without else ""
    columns = ["variant", "gate", "limit", "value", "by how much", "outcome"]
    return Table("gates", "What a variant had to keep", columns, rows, note)


def metrics(document: Document) -> Table | None:
    """Every metric of every variant with its 95 % interval, and whether its loss can be told from noise."""
    names = document.metrics
    if not names:
        return None
    columns = ["variant", *map(words, names)]
    told = any((v.get("intervals") or {}).get(name, {}).get("drop") for v in document.variants for name in names)
    table = Table("metrics", "All metrics", columns if not told else [*columns, "loss of quality"])
    for row in [*document.variants, *document.full_precision]:
        measured, between = row.get("metrics") or {}, row.get("intervals") or {}
        cells = [interval(measured.get(n), (between.get(n) or {}).get("value"), 5) for n in names]
        if told:
            cells.append(_loss((between.get(document.primary) or {}).get("drop")))
        table.rows.append([text(row["name"]), *cells])
    if told:
        table.note = (
            "Brackets hold 95 % intervals of a paired bootstrap. A loss is within noise where the interval of "
            f"the difference in {words(document.primary)} holds zero."
        )
    return table


def quantized(document: Document) -> Table | None:
    """What each quantizer changed."""
    columns = ["variant", "quantizer", "options", "layers", "of parameters", "left out", "seconds", "notes"]
    table = Table("quantized", "What was quantized", columns)
    for row in document.variants:
        done = row.get("quantized") or {}
        counts = ", ".join(f"{count} {kind}" for kind, count in (done.get("counts") or {}).items())
        share = done["parameters"] / max(1, done["of_parameters"]) if done.get("of_parameters") else None
        table.rows.append(
            [
                text(row["name"]),
                text(row.get("quantizer")),
                text(_options(row.get("options")), "code"),
                text(counts),
                percent(share, 0),
                text(", ".join(done.get("left_out") or [])),
                fixed(row.get("quantize_seconds"), 1),
                text("; ".join(done.get("notes") or [])),
            ]
        )
    return table if table.rows else None


def reconstruction(document: Document) -> Table | None:
    """How far the weights of variants that were not judged here are from the source's."""
    rows = []
    for variant in document.variants:
        found = (variant.get("checked") or {}).get("reconstruction") or {}
        for layer in found.get("worst") or []:
            cells = [number(layer.get("sqnr_db"), 4), percent(layer.get("relative_error"))]
            rows.append([text(variant["name"]), text(layer["layer"], "code"), *cells, number(found.get("layers"), 6)])
    if not rows:
        return None
    columns = ["variant", "layer", "SQNR in dB", "relative error", "of so many layers"]
    note = (
        "Dequantized and compared with the source. This finds broken files; it does not tell how good the answers are."
    )
    return Table("reconstruction", "The worst layers of what was made here", columns, rows, note)


def environment(document: Document) -> Table | None:
    """The machine and the packages' versions."""
    found = dict(document.environment)
    if packages := found.pop("packages", None):
        found["packages"] = [f"{name} {version}" for name, version in packages.items()]
    rows = [[text(words(name)), text(_plain(value))] for name, value in _flat(found)]
    return Table("environment", "The machine, and versions of packages", ["what", "value"], rows) if rows else None


def provenance(document: Document) -> Table | None:
    """What the run was made from: the recipe, the model, the samples, and their digests."""
    found = document.provenance
    parts = {k: found[k] for k in ("created", "quantbento", "recipe", "source", "samples") if found.get(k)}
    rows = [[text(words(name)), text(_plain(value), "code")] for name, value in _flat(parts) if "content" not in name]
    rows += [
        [text(f"{v['name']}: stored as"), text(v["tag"] + (" (reused)" if v.get("reused") else ""), "code")]
        for v in document.variants
        if v.get("tag")
    ]
    return Table("provenance", "What it was made from", ["what", "value"], rows) if rows else None


def _outcome(row: Row) -> Cell:
    if "quantizer" not in row:
        return text(None)
    if row.get("error"):
        return Cell("could not be made", kind="bad")
    if is_unjudged(row):
        return Cell(NOT_JUDGED)
    said = verdict(row.get("gates") or [])
    return Cell(said, kind="plain" if said == NO_GATES else "good" if row.get("passed") else "bad")


def _gate_outcome(gate: Row) -> Cell:
    between = gate.get("interval")
    if between and not gate.get("confident") and between[0] < gate["limit"] < between[1]:
        return Cell("passed, within noise" if gate.get("passed") else "failed, within noise", kind="plain")
    return yes(gate.get("passed"), "passed", "failed")


def _margin(gate: Row) -> Cell:
    """How far the value is on the right side of its limit; negative on the wrong one."""
    if gate.get("value") is None:
        return text("not measured")
    sign = -1 if gate["rule"].startswith("max") else 1
    value = gate["value"]
    if gate.get("confident") and gate.get("interval"):
        value = gate["interval"][0 if sign > 0 else 1]  # the worse end had to pass
    margin = sign * (value - gate["limit"])
    return Cell(f"{abs(margin):.4g} {'to spare' if gate.get('passed') else 'off'}", margin)


def _loss(drop: list[float] | None) -> Cell:
    if not drop:
        return text(None)
    if drop[0] <= 0 <= drop[1]:
        return Cell("within noise", 0.0)
    return Cell(f"{drop[0]:.3g} to {drop[1]:.3g}", drop[0], "bad" if drop[0] > 0 else "good")


def _options(options: Row | None) -> str:
    return ", ".join(f"{key}={_plain(value)}" for key, value in (options or {}).items())


def _flat(parts: Row, before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as lines, without empty values."""
    for key, value in parts.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        elif value not in (None, "", []):
            yield name, value


def _plain(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(v, dict | list) for v in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
