"""What can be chosen: variants with what was measured of them, from report.json or from stored models' manifests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, StoreError


@dataclass(frozen=True)
class Axis:
    """A figure that variants are compared by.

    Attributes:
        better: +1 where larger is better, -1 where smaller is.
        alike: figures that differ by no more than this share of them are not told apart, however exact they are.
    """

    name: str
    unit: str
    better: int
    alike: float = 0.0


LATENCY = Axis("latency", "ms", -1)
THROUGHPUT = Axis("throughput", "per s", +1)
QUALITY = Axis("recovery", "", +1, alike=0.0005)
SIZE = Axis("size", "MB", -1, alike=0.02)
MEMORY = Axis("memory", "MB", -1, alike=0.05)
SPEEDUP = Axis("speedup", "x", +1)
AXES = (LATENCY, THROUGHPUT, QUALITY, SIZE, MEMORY)


@dataclass(frozen=True)
class Figure:
    """A measured value, and the limits that it lies between where it is uncertain."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Candidate:
    """
    Attributes:
        name: the tag of a stored model, or the variant's name where it is not stored.
        stored: whether it is.
        figures: by axis; what was not measured is missing.
        refused: why it is no choice, whatever is asked for: it failed a gate, or could not be made.
        machine: where its speed was measured: its CPU, threads and device.
        metrics: those that it has a recovery of.
    """

    name: str
    stored: bool
    figures: dict[Axis, Figure] = field(default_factory=dict)
    refused: str | None = None
    machine: str = ""
    metrics: tuple[str, ...] = ()


def of_report(report: dict[str, Any], metric: str | None = None) -> list[Candidate]:
    """The variants of a report.json, by tag where they are stored.

    Args:
        report: its content.
        metric: whose recovery is the quality; the task's first that was measured by default.
    """
    task, environment = str(report.get("task")), report.get("environment") or {}
    return [of_row(row, task, environment, row.get("tag"), metric) for row in report["variants"]]


def of_manifest(tag: str, kept: dict[str, Any], metric: str | None = None) -> Candidate:
    """A stored model, by its manifest.

    Raises:
        StoreError: it was not made from a recipe.
    """
    row, recipe = kept.get("variant") or {}, kept.get("recipe") or {}
    if "name" not in row:
        raise StoreError(f"{tag} was not made from a recipe: its manifest has no row of a report")
    return of_row(row, str(recipe.get("task")), kept.get("environment") or {}, tag, metric)


def of_row(
    row: dict[str, Any], task: str, environment: dict[str, Any], tag: str | None, metric: str | None
) -> Candidate:
    """A variant's row of a report as a candidate."""
    figures: dict[Axis, Figure] = {}
    spread = _relative(row)
    if p50 := (row.get("latency_ms") or {}).get("p50"):
        figures[LATENCY] = Figure(p50, p50 / spread[1], p50 / spread[0])
    if throughput := row.get("throughput"):
        figures[THROUGHPUT] = Figure(throughput, throughput * spread[0], throughput * spread[1])
    if speedup := row.get("speedup"):
        median = speedup["median"]
        figures[SPEEDUP] = Figure(median, median * spread[0], median * spread[1])
    for axis, key in ((SIZE, "size_bytes"), (MEMORY, "peak_memory_bytes")):
        if size := row.get(key):
            figures[axis] = Figure(size / 1e6, size / 1e6, size / 1e6)
    name = metric or _primary(task, row.get("recovery") or {})
    if (recovery := (row.get("recovery") or {}).get(name)) is not None:
        low, high = (row.get("intervals") or {}).get(name, {}).get("recovery") or (recovery, recovery)
        figures[QUALITY] = Figure(recovery, low, high)
    on = [str(environment[key]) for key in ("cpu", "gpu", "threads") if environment.get(key)]
    metrics = tuple(row.get("recovery") or ())
    return Candidate(tag or row["name"], tag is not None, figures, _refused(row, tag), ", ".join(on), metrics)


def _relative(row: dict[str, Any]) -> tuple[float, float]:
    """How uncertain a variant's speed is, relative to it: the interval of its speedup's median where the report has
    one, else the 10th and 90th percentile of its rounds."""
    speedup = row.get("speedup") or {}
    if not (median := speedup.get("median")):
        return 1.0, 1.0
    low, high = (row.get("intervals") or {}).get("speedup", {}).get("value") or (speedup["p10"], speedup["p90"])
    return min(1.0, low / median), max(1.0, high / median)


def _primary(task: str, measured: Iterable[str]) -> str | None:
    """The first of the task's metrics that has a recovery."""
    try:
        order = registry.task(task).primary
    except QuantbentoError:  # a task of the user's own that is not installed here
        order = ()
    return next((name for name in (*order, *measured) if name in measured), None)


def _refused(row: dict[str, Any], tag: str | None) -> str | None:
    if row.get("error"):
        return f"could not be made: {row['error']}"
    if row.get("judged") is False:
        return (
            f"was not judged; judge it where {row['runtime']} runs: quantbento judge {row.get('tag') or tag or 'TAG'}"
        )
    failed = [gate["metric"] for gate in row.get("gates") or [] if not gate["passed"]]
    if failed or not row.get("passed"):
        return f"failed its gates: {', '.join(failed)}" if failed else "did not pass its gates"
    return None
