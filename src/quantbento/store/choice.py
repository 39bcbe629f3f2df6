"""Which of several measured variants to take, and why not each other one.

1. those that failed a gate, or miss one of the asked limits, are out; limits are never rounded
2. the best of the rest by the objective; those that cannot be told from it, because their intervals overlap, are as
   good: of them the one with the better recovery is taken, then the smaller, then the better by its figure
3. each other one gets its reason in a line: refused, misses a limit, dominated by another, within noise, or worse
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quantbento.store.candidates import AXES, LATENCY, QUALITY, SIZE, THROUGHPUT, Axis, Candidate

# Of machines at one price, the cost of an answer is the time that it keeps one busy.
OBJECTIVES = {"latency": LATENCY, "cost": THROUGHPUT, "quality": QUALITY, "size": SIZE, "throughput": THROUGHPUT}
DEFAULT = "latency"
BETTER = {"latency": "faster", "throughput": "more throughput", "recovery": "better recovery", "size": "smaller"}
BETTER |= {"memory": "less memory"}
WORSE = {"latency": "slower", "throughput": "less throughput", "recovery": "lower recovery", "size": "larger"}
WORSE |= {"memory": "more memory"}


@dataclass(frozen=True)
class Limit:
    """What a variant must keep: at most `value` where smaller is better, else at least. `name` is the option's."""

    name: str
    axis: Axis
    value: float

    def missed_by(self, candidate: Candidate) -> float | None:
        """By how much, in the axis's unit; None where it is kept. Infinite where nothing was measured."""
        figure = candidate.figures.get(self.axis)
        if figure is None:
            return float("inf")
        missed = self.axis.better * (self.value - figure.value)
        return missed if missed > 0 else None


@dataclass(frozen=True)
class Choice:
    """
    Attributes:
        chosen: None where nothing qualifies.
        why: of the chosen, or what comes nearest where nothing qualifies.
        reasons: against each other candidate, by name.
        front: the names of those that qualify and that none dominates.
    """

    chosen: Candidate | None
    why: str
    reasons: Mapping[str, str]
    front: tuple[str, ...] = ()


def choose(candidates: Sequence[Candidate], objective: str = DEFAULT, limits: Sequence[Limit] = ()) -> Choice:
    """The best candidate by an objective within limits.

    Args:
        candidates: with what was measured of them.
        objective: a name in `OBJECTIVES`.
        limits: all must be kept.
    """
    axis = OBJECTIVES[objective]
    reasons = {c.name: reason for c in candidates if (reason := _out(c, axis, limits))}
    fit = [c for c in candidates if c.name not in reasons]
    if not fit:
        return Choice(None, _nearest(candidates, axis, limits), reasons)
    best = max(fit, key=lambda c: axis.better * c.figures[axis].value)
    alike = [c for c in fit if compare(c, best, axis) == 0]
    chosen = alike[0]
    for other in alike[1:]:
        if _preferred(other, chosen, axis):
            chosen = other
    others = [c for c in fit if c is not chosen]
    reasons |= {c.name: _against(c, chosen, others, axis) for c in others}
    front = tuple(c.name for c in fit if not any(dominates(o, c) for o in fit if o is not c))
    return Choice(chosen, _why(chosen, best, axis, len(fit), len(alike)), reasons, front)


def compare(one: Candidate, other: Candidate, axis: Axis) -> int:
    """+1 where `one` is better, -1 where it is worse, 0 where they cannot be told apart or one was not measured."""
    a, b = one.figures.get(axis), other.figures.get(axis)
    if a is None or b is None or (a.low <= b.high and b.low <= a.high):
        return 0
    if abs(a.value - b.value) <= axis.alike * max(abs(a.value), abs(b.value)):
        return 0
    return axis.better if a.value > b.value else -axis.better


def dominates(one: Candidate, other: Candidate) -> bool:
    """Whether `one` is nowhere worse and somewhere better."""
    found = [compare(one, other, axis) for axis in AXES]
    return min(found) >= 0 and max(found) > 0


def shown(axis: Axis, value: float) -> str:
    """`3.21 ms`, `23.5 MB`, `0.9989`"""
    digits = f"{value:.4f}" if axis is QUALITY else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{digits}{'' if axis.unit in ('', 'x') else ' '}{axis.unit}".strip()


def _preferred(one: Candidate, other: Candidate, axis: Axis) -> bool:
    """Whether to take `one` where both are as good by the objective."""
    for tie in (QUALITY, SIZE):
        if found := compare(one, other, tie):
            return found > 0
    return axis.better * (one.figures[axis].value - other.figures[axis].value) > 0


def _out(candidate: Candidate, axis: Axis, limits: Sequence[Limit]) -> str | None:
    if candidate.refused:
        return candidate.refused
    if missed := [said for limit in limits if (said := _missed(candidate, limit))]:
        return "; ".join(missed)
    return None if axis in candidate.figures else f"its {axis.name} was not measured"


def _missed(candidate: Candidate, limit: Limit) -> str | None:
    by = limit.missed_by(candidate)
    if by is None:
        return None
    if by == float("inf"):
        return f"its {limit.axis.name} was not measured, so {limit.name} cannot be checked"
    figure = f"{by:.2g}" if by < 100 else f"{by:.0f}"
    digits = f"{figure}{' ' if limit.axis.unit not in ('', 'x') else ''}{limit.axis.unit}"
    return f"misses {limit.name} {limit.value:g} by {digits}"


def _against(candidate: Candidate, chosen: Candidate, others: Sequence[Candidate], axis: Axis) -> str:
    for better in (chosen, *others):
        if better is not candidate and dominates(better, candidate):
            how = _differences(candidate, better, WORSE, -1)
            return f"dominated by {better.name}: {how}"
    same = compare(candidate, chosen, axis) == 0
    own, best = (shown(axis, c.figures[axis].value) for c in (candidate, chosen))
    worse = _differences(candidate, chosen, WORSE, -1, leave_out=axis)
    if same:
        return f"within noise of the chosen ({own} against {best})" + (
            f", {worse}" if worse else ", no better elsewhere"
        )
    gain = _differences(candidate, chosen, BETTER, +1)
    return f"{WORSE[axis.name]} ({own} against {best})" + (f", though {gain}" if gain else "")


def _differences(
    one: Candidate, other: Candidate, words: Mapping[str, str], sign: int, leave_out: Axis | None = None
) -> str:
    """Where `one` differs for better (+1) or worse (-1): `larger (59 MB against 23 MB)`."""
    parts = [
        f"{words[axis.name]} ({shown(axis, one.figures[axis].value)} against {shown(axis, other.figures[axis].value)})"
        for axis in AXES
        if axis is not leave_out and compare(one, other, axis) == sign
    ]
    return ", ".join(parts)


def _why(chosen: Candidate, best: Candidate, axis: Axis, fit: int, alike: int) -> str:
    value = shown(axis, chosen.figures[axis].value)
    if fit == 1:
        return f"the only one that qualifies: {axis.name} {value}"
    noise = f"; {alike - 1} within noise of it" if alike > 1 else ""
    if chosen is best:
        return f"the best {axis.name} of {fit} that qualify: {value}{noise}"
    tie = next((t for t in (QUALITY, SIZE) if compare(chosen, best, t)), axis)
    own, other = (shown(tie, c.figures[tie].value) for c in (chosen, best))
    best_value = shown(axis, best.figures[axis].value)
    return (
        f"{axis.name} {value}, within noise of the best of {fit} that qualify ({best_value}), "
        f"and better {tie.name} ({own} against {other})"
    )


def _nearest(candidates: Sequence[Candidate], axis: Axis, limits: Sequence[Limit]) -> str:
    """What comes nearest of those that passed their gates: the one whose largest miss is the smallest share of its
    limit."""
    whole: Callable[[Candidate], float] = lambda c: max(  # noqa: E731
        [(limit.missed_by(c) or 0.0) / (abs(limit.value) or 1.0) for limit in limits], default=0.0
    )
    possible = [c for c in candidates if c.refused is None and axis in c.figures]
    if not possible:
        return "nothing qualifies: no variant passed its gates and was measured"
    near = min(possible, key=whole)
    return f"nothing qualifies; nearest is {near.name}, which {_out(near, axis, limits)}"
