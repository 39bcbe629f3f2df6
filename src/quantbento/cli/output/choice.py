"""What `quantbento choose` says: the choice, and the reason against each other candidate."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from quantbento.judging.report.console import wide_console
from quantbento.store.candidates import AXES, SPEEDUP, Candidate
from quantbento.store.choice import Choice, shown

COLUMNS = (*AXES, SPEEDUP)


def print_choice(choice: Choice, candidates: Sequence[Candidate], objective: str) -> None:
    """The chosen one and why, then a table of all with the reasons."""
    console = wide_console()
    said = f"{choice.chosen.name}: {choice.why}" if choice.chosen else choice.why
    console.print(said, highlight=False, markup=False)
    table = Table(pad_edge=False)
    table.add_column("variant", overflow="fold")
    for axis in COLUMNS:
        table.add_column(axis.name, justify="right")
    table.add_column("why not", overflow="fold")
    for candidate in sorted(candidates, key=lambda c: c is not choice.chosen):
        figures = [shown(a, candidate.figures[a].value) if a in candidate.figures else "-" for a in COLUMNS]
        reason = "chosen" if candidate is choice.chosen else choice.reasons[candidate.name]
        table.add_row(*map(Text, (candidate.name, *figures, reason)))
    console.print(table)
    if note := machines(candidates):
        console.print(f"note: {note}", highlight=False, markup=False)


def print_choice_json(choice: Choice, candidates: Sequence[Candidate], objective: str) -> None:
    """The same for programs; figures that were not measured are null."""
    document = {
        "objective": objective,
        "chosen": choice.chosen.name if choice.chosen else None,
        "why": choice.why,
        "front": list(choice.front),
        "candidates": [
            {
                "name": c.name,
                "stored": c.stored,
                "reason": choice.reasons.get(c.name),
                **{axis.name: c.figures[axis].value if axis in c.figures else None for axis in COLUMNS},
            }
            for c in candidates
        ],
        "note": machines(candidates),
    }
    print(json.dumps(document, indent=2))


def machines(candidates: Sequence[Candidate]) -> str | None:
    """A warning where speeds were measured on different machines, which says nothing of the variants."""
    found = dict.fromkeys(c.machine for c in candidates if c.machine)
    if len(found) < 2:
        return None
    return f"speeds were measured on different machines ({'; '.join(found)}). Measure them together: quantbento bench"
