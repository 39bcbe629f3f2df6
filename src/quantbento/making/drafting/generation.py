"""What a recipe for a language model says about tokens: as many windows and sequences as the texts give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.recipe import Calibration
from quantbento.tasks.base import Task
from quantbento.tasks.source import SampleSet, SourceModel

LONGEST_CONTEXT = 4096  # tokens that an engine gets memory for, unless the user asks for more
SEQUENCE_LENGTH = 256
# Speed of generated text is measured in seconds per call, not in thousandths of one.
BENCHMARK = {"items": 8, "rounds": 5, "latency_calls": 10}


def windows(task: type[Task], folder: Path, items: Sequence[Any], longest: int | None) -> dict[str, int]:
    """`task_options` for evaluation texts: empty where the defaults fit.

    Raises:
        QuantbentoError: the texts are too short for one window.
    """
    defaults = task.Options()
    window = min(getattr(defaults, "window"), longest or getattr(defaults, "window"))  # noqa: B009 - of one task only
    for count in _halves(getattr(defaults, "windows")):  # noqa: B009
        chosen = {"window": window, "windows": count}
        if _enough(task, folder, "evaluation", items, task.Options(**chosen), None):
            return {name: value for name, value in chosen.items() if value != getattr(defaults, name)}
    raise QuantbentoError(f"the {len(items)} evaluation texts have fewer than {window} tokens together; give more")


def sequences(task: type[Task], folder: Path, items: Sequence[Any], longest: int | None) -> dict[str, int]:
    """`sequences` and `sequence_length` for calibration texts.

    Raises:
        QuantbentoError: the texts are too short for one sequence.
    """
    length = min(SEQUENCE_LENGTH, longest or SEQUENCE_LENGTH)
    for count in _halves(Calibration.model_fields["sequences"].default):
        wanted = Calibration.model_construct(sequences=count, sequence_length=length)
        if _enough(task, folder, "calibration", items, task.Options(), wanted):
            return {"sequences": count, "sequence_length": length}
    raise QuantbentoError(f"the {len(items)} calibration texts have fewer than {length} tokens together; give more")


def engine(longest: int | None) -> dict[str, Any]:
    """Settings of the engine: a context that fits into memory, where the model's own is long."""
    return {"max_model_len": LONGEST_CONTEXT} if (longest or 0) > LONGEST_CONTEXT else {}


def _halves(count: int) -> list[int]:
    return [count >> shift for shift in range(count.bit_length())]


def _enough(
    task: type[Task], folder: Path, kind: str, items: Sequence[Any], options: Any, wanted: Calibration | None
) -> bool:
    made = task.create(SourceModel(folder=folder), options, SampleSet([]))
    try:
        made.check_enough(kind, items, wanted)
    except QuantbentoError:
        made.check_all(items, None)  # what is wrong with a text is said; that there are few texts is not
        return False
    return True
