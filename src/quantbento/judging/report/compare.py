"""What changed between two reports beyond noise: two runs, or two machines.

A metric changed where its two 95 % intervals are apart, a speedup where its ranges from p10 to p90 are. Where a figure
has no noise that was measured, a change of more than `ASSUMED` counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from quantbento.core.errors import QuantbentoError
from quantbento.judging.figures import NO_GATES, NOT_JUDGED, verdict
from quantbento.judging.report.document import Document, Row
from quantbento.judging.rows import is_unjudged

# The relative change that counts of a figure whose noise is unknown. Sizes are counted, so any change is one.
ASSUMED = {"metric": 0.01, "latency_ms p50": 0.25, "throughput": 0.25, "peak_memory_bytes": 0.1, "size_bytes": 0.001}
TIMES = ("latency_ms p50", "throughput")  # compared on the same machine only; a speedup is paired, so it has none
Ends = tuple[list[float] | None, list[float] | None]  # the intervals before and after
Verdict = Literal["better", "worse", "same", "changed"]


@dataclass(frozen=True)
class Change:
    """One figure of one row in both reports.

    Attributes:
        noise: what it was judged by: `intervals`, `p10-p90`, or `assumed` with the relative change that counts.
        verdict: beyond noise better or worse, or the same; `changed` where neither is better.
    """

    row: str
    figure: str
    before: float | str | None
    after: float | str | None
    noise: str
    verdict: Verdict


@dataclass
class Comparison:
    """Two reports side by side.

    Attributes:
        changes: every figure that both have.
        appeared, gone: variants in only one of them.
        environment: what differs of the machines and versions: name, before, after.
        notes: what makes the comparison weaker.
    """

    before: str
    after: str
    changes: list[Change] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    environment: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def regressions(self) -> list[Change]:
        return [change for change in self.changes if change.verdict == "worse"]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(before: Document, after: Document) -> Comparison:
    """Compares two reports.

    Raises:
        QuantbentoError: they are of different tasks.
    """
    if before.task != after.task:
        raise QuantbentoError(
            f"{before.path} is of the task {before.task!r}, {after.path} of {after.task!r}; compare reports of one task"
        )
    found = Comparison(str(before.path), str(after.path))
    if before.recipe != after.recipe:
        found.notes.append(f"the recipes differ: {before.recipe} and {after.recipe}")
    same_samples = _samples(before) == _samples(after) or None in (_samples(before), _samples(after))
    if not same_samples:
        found.notes.append("they were judged on other samples, so metrics are not compared")
    found.environment = _environment(before, after)
    same_machine = not {name for name, *_ in found.environment} & {"cpu", "gpu", "device", "threads"}
    if not same_machine:
        found.notes.append("the machines differ, so latencies and throughputs are not compared")
    first, second = _rows(before), _rows(after)
    found.appeared = [name for name in second if name not in first]
    found.gone = [name for name in first if name not in second]
    better = {**before.better, **after.better}
    for name in first:
        if name in second:
            found.changes += _changes(name, first[name], second[name], better, same_samples, same_machine)
    return found


def _changes(
    name: str, before: Row, after: Row, better: dict[str, int], same_samples: bool, same_machine: bool
) -> Iterator[Change]:
    ends: Ends
    if "quantizer" in before:
        yield _outcome(name, before, after)
    if same_samples:
        for metric, value in (before.get("metrics") or {}).items():
            other = (after.get("metrics") or {}).get(metric)
            if value is not None and other is not None:
                ends = _interval(before, metric), _interval(after, metric)
                yield _change(name, metric, value, other, ends, better.get(metric, 0), "metric")
    first, second = before.get("speedup"), after.get("speedup")
    if first and second:
        ends = [first["p10"], first["p90"]], [second["p10"], second["p90"]]
        yield _change(name, "speedup", first["median"], second["median"], ends, 1, "p10-p90")
    for figure, sign in (("latency_ms p50", -1), ("throughput", 1), ("peak_memory_bytes", -1), ("size_bytes", -1)):
        own, others = _value(before, figure), _value(after, figure)
        if own is not None and others is not None and (same_machine or figure not in TIMES):
            yield _change(name, figure, own, others, (None, None), sign, figure)


def _change(row: str, figure: str, before: float, after: float, ends: Ends, better: int, kind: str) -> Change:
    first, second = ends
    if first and second:
        apart, noise = first[1] < second[0] or second[1] < first[0], "p10-p90" if kind == "p10-p90" else "intervals"
    else:
        allowed = ASSUMED[kind]
        apart, noise = abs(after - before) > allowed * max(abs(before), abs(after)), f"assumed {allowed:.1%}"
    verdict: Verdict = "same"
    if apart:
        verdict = "changed" if not better else "better" if better * (after - before) > 0 else "worse"
    return Change(row, figure, before, after, noise, verdict)


def _outcome(name: str, before: Row, after: Row) -> Change:
    """What became of a variant: whether it could be made, and its gates."""
    if any(is_unjudged(row) and not row.get("error") for row in (before, after)):
        shown = [NOT_JUDGED if is_unjudged(row) else verdict(row.get("gates") or []) for row in (before, after)]
        return Change(name, "gates", shown[0], shown[1], "none", "same" if shown[0] == shown[1] else "changed")
    rank = [
        2 if row.get("passed") and not row.get("error") else 0 if row.get("error") else 1 for row in (before, after)
    ]
    shown = ["error" if row.get("error") else verdict(row.get("gates") or []) for row in (before, after)]
    judged: Verdict = "same" if rank[0] == rank[1] else "better" if rank[1] > rank[0] else "worse"
    if judged == "same" and shown[0] != shown[1] and NO_GATES in shown:
        judged = "changed"
    return Change(name, "gates", shown[0], shown[1], "none", judged)


def _interval(row: Row, metric: str) -> list[float] | None:
    return ((row.get("intervals") or {}).get(metric) or {}).get("value")


def _value(row: Row, figure: str) -> float | None:
    name, _, part = figure.partition(" ")
    value = row.get(name)
    return (value or {}).get(part) if part else value


def _rows(document: Document) -> dict[str, Row]:
    return {row["name"]: row for row in [*document.variants, *document.full_precision]}


def _samples(document: Document) -> Any:
    """The identity of the evaluation samples; None where the report does not hold it."""
    return (document.provenance.get("samples") or {}).get("evaluation")


def _environment(before: Document, after: Document) -> list[tuple[str, str, str]]:
    first, second = _flat(before.environment), _flat(after.environment)
    names = dict.fromkeys([*first, *second])
    return [(n, first.get(n, "-"), second.get(n, "-")) for n in names if first.get(n) != second.get(n)]


def _flat(environment: Row) -> dict[str, str]:
    flat = {k: v for k, v in environment.items() if k != "packages"} | (environment.get("packages") or {})
    return {
        name: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in flat.items() if v is not None
    }
