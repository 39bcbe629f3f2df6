"""The figures of a report as short texts, the same on the console, in a notebook and in `quantbento models`.

A report and its rows are those of `quantbento.judging.rows`, which shows itself in notebooks with this module, so they
are not imported here.
"""

from __future__ import annotations

from typing import Any

NO_GATES = "no gates"
NOT_JUDGED = "not judged here"


def headings(report: Any) -> list[str]:
    """The columns of `cells`, `gates` and `tag`."""
    fidelity = primary(report) or "fidelity"
    speeds = [report.throughput_unit, "speedup (p10-p90)", "same runtime", "p50 ms"]
    return ["variant", "size", "ratio", fidelity, "recovery", *speeds, "gates", "tag"]


def primary(report: Any) -> str:
    """The first of the task's primary metrics that was measured; empty if none was."""
    measured = report.baseline.metrics if report.baseline else {}
    return next((name for name in report.primary if name in measured), "")


def cells(row: Any, fidelity: str) -> list[str]:
    """The name and the figures of a row. `fidelity` is the metric to show."""
    ratio = "-" if row.size_ratio is None else f"{row.size_ratio:.3f}"
    value = row.metrics.get(fidelity)
    recovery = getattr(row, "recovery", {}).get(fidelity)
    latency = row.latency_ms.get("p50")
    return [
        row.name,
        megabytes(row.size_bytes),
        ratio,
        "-" if value is None else f"{value:.4f}",
        "-" if recovery is None else f"{recovery:.4f}",
        "-" if row.throughput is None else f"{row.throughput:.0f}",
        speed(row.speedup),
        speed(getattr(row, "speedup_same_runtime", None)),
        "-" if latency is None else f"{latency:.2f}",
    ]


def outcome(variant: Any) -> str:
    """What became of a variant: an error, or what its gates said."""
    if variant.error:
        return "error"
    return verdict(variant.gates) if variant.judged else NOT_JUDGED


def tag(variant: Any) -> str:
    if variant.tag is None:
        return "not stored"
    return f"{variant.tag} (reused)" if variant.reused else variant.tag


def megabytes(size: int | None) -> str:
    if size is None:
        return "-"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def speed(speedup: dict[str, float] | None) -> str:
    if not speedup:
        return "-"
    return f"{speedup['median']:.2f}x ({speedup['p10']:.2f}-{speedup['p90']:.2f})"


def verdict(gates: list[dict[str, Any]]) -> str:
    """Which gates failed, or how many passed; without gates nothing was proven."""
    if not gates:
        return NO_GATES
    failed = [g["metric"] for g in gates if not g["passed"]]
    return f"failed: {', '.join(failed)}" if failed else f"passed {len(gates)}"
