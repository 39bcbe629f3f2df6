"""The samples of a recipe: those that the user names, or some that stand in for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.making.drafting import placeholders
from quantbento.making.drafting.document import Place
from quantbento.making.drafting.request import Request
from quantbento.making.drafting.sample_files import look
from quantbento.tasks.base import Task
from quantbento.tasks.source import SampleSet

KINDS = ("evaluation", "calibration")
REPLACE = "replace with your own samples, and take placeholder out"
MakeUp = Callable[[int], Any]  # from a kind's place in `KINDS`


class Sampling:
    """Finds samples, and keeps what there is to say about them.

    Args:
        request: what the user names.
        name: the recipe's.
        staging: a folder for what stands in for the user's samples, until all is known to be right.
        comments: by place in the recipe; added to.
    """

    def __init__(self, request: Request, name: str, staging: Path, comments: dict[Place, str]) -> None:
        self._request, self._name, self._staging, self._comments = request, name, staging, comments

    def find(self, kind: str, task: type[Task], labels: Sequence[str], make_up: MakeUp) -> tuple[Any, SampleSet]:
        """What the recipe says of samples of a kind, and the samples.

        Args:
            labels: names of the model's classes.
            make_up: gives rows of a table, or arrays, for what stands in for samples that the user does not name.

        Raises:
            QuantbentoError: what the user names cannot be used, or nothing can stand in for it.
        """
        if given := getattr(self._request, kind):
            found = look(given, task, labels, self._request.columns)
            if found.spec.get("count", found.total) < found.total:
                self._comments[kind, "count"] = f"of {found.total}"
            return found.spec, found.samples
        items = make_up(KINDS.index(kind))
        path = self._staging / (f"{self._name}-placeholder" + ("" if kind == KINDS[0] else f"-{kind}"))
        if task.suffixes:
            placeholders.write_files(task, path, KINDS.index(kind))
            items, told = sorted(path.iterdir()), "a folder with a subfolder for each class has labels"
        elif task.fields:
            path = path.with_name(f"{path.name}.jsonl")
            placeholders.write_rows(items, path)
            labelled = kind == KINDS[0] and any(metric.labelled for metric in task.metrics.values())
            told = f"columns: {', '.join(task.fields)}" + labelled * "; right answers in a column label"
            items = [row[task.fields[0]] if len(task.fields) == 1 else row for row in items]
        else:
            path = path.with_name(f"{path.name}.npz")
            placeholders.write_arrays(items, path)
            told = f"arrays: {', '.join(items[0])}; right classes in an array label"
        self._comments[kind, "path"] = f"{REPLACE}; {told}"
        return {"path": path, "placeholder": True}, SampleSet(items)


def texts(task: type[Task], made: Task | None) -> MakeUp:
    """Makes rows for a task whose items are texts; nothing where they are files, which `placeholders` writes.

    Args:
        made: the task of a language model, which knows how many texts are enough.
    """
    enough = None if made is None else _enough(made)
    return lambda half: None if task.suffixes else placeholders.rows(task, half, enough)


def _enough(task: Task) -> Callable[[list[str]], bool]:
    def enough(texts: list[str]) -> bool:
        try:
            task.check_enough("evaluation", texts, None)
        except QuantbentoError:
            return False
        return True

    return enough
