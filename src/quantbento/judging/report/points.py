"""The rows of a report as points of quality against speed, and those on the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass

from quantbento.judging.report.document import Document, Row

STORED, REFUSED, REFERENCE = "passed", "refused", "full precision"


@dataclass(frozen=True)
class Point:
    """Speed is the speedup over the baseline with its p10 and p90; quality, with its interval where there is one, the
    primary metric's recovery, or its value where it has none."""

    name: str
    kind: str
    speed: float
    slow: float
    fast: float
    quality: float
    low: float
    high: float


def points(document: Document) -> tuple[list[Point], bool]:
    """The points, and whether their quality is a recovery: then full precision has points too."""
    recovers = any(document.quality(v) is not None for v in document.variants)
    rows = [*document.variants, *(document.full_precision if recovers else [])]
    found = []
    for row in rows:
        quality = document.quality(row) if recovers else (row.get("metrics") or {}).get(document.primary)
        speedup = row.get("speedup")
        if quality is None or not speedup:
            continue
        between = ((row.get("intervals") or {}).get(document.primary) or {}).get("recovery" if recovers else "value")
        low, high = between or (quality, quality)
        speeds = (speedup["median"], speedup["p10"], speedup["p90"])
        found.append(Point(row["name"], kind_of(row), *speeds, quality, low, high))
    return found, recovers


def kind_of(row: Row) -> str:
    if "quantizer" not in row:
        return REFERENCE
    return STORED if row.get("passed") else REFUSED


def front(found: list[Point], better: int = 1) -> list[Point]:
    """The points that no other beats in both speed and quality, slowest first. Refused variants are not considered."""
    kept: list[Point] = []
    for point in sorted((p for p in found if p.kind != REFUSED), key=lambda p: (-p.speed, -better * p.quality)):
        if not kept or better * point.quality > better * kept[-1].quality:
            kept.append(point)
    return kept[::-1]
