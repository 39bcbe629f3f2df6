"""What is wrong with the tasks of lm-eval that a recipe names, found before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantbento.core import machine
from quantbento.core.errors import QuantbentoError
from quantbento.judging.lm_eval.recovery import AVERAGE, PREFIX
from quantbento.judging.lm_eval.tasks import load, unknown
from quantbento.making.inspection import Inspection
from quantbento.recipe.document import Loc, Problem
from quantbento.recipe.lm_eval import LmEval
from quantbento.tasks.base import Metric, Task

PLACE: Loc = ("evaluation", "lm_eval")


class Package:
    """What it needs, as a quantizer or a runtime declares it."""

    modules = ("lm_eval",)
    extra = "lm-eval"


def inspect(found: Inspection, task: type[Task], evaluation: Any) -> None:
    """Reports tasks for a model that is no language model, and a missing package; adds what gates may name."""
    wanted = evaluation.get("lm_eval") if isinstance(evaluation, Mapping) else None
    if not wanted:
        return
    if task.contract != "tokens":
        found.say(PLACE, f"lm-eval asks language models, which those of task {task.name!r} are not; leave it out")
        return
    listed = wanted.get("tasks") if isinstance(wanted, Mapping) else None
    names = [t.get("task") if isinstance(t, Mapping) else t for t in (listed if isinstance(listed, list) else ())]
    found.more |= dict.fromkeys((f"{PREFIX}{name}" for name in (*names, AVERAGE)), Metric(+1))
    found.packages(Package, "lm_eval", PLACE)


def problems(task: type[Task], spec: LmEval | None, call: bool) -> list[Problem]:
    """Unknown names; with `call`, also tasks that cannot be read. Their data is downloaded then, once."""
    if spec is None or task.contract != "tokens" or machine.missing_packages(Package.modules):
        return []  # already reported
    if found := unknown(spec):
        return [Problem((*PLACE, "tasks", index), told) for index, told in found.items()]
    if not call:
        return []
    try:
        load(spec)
    except QuantbentoError as error:
        return [Problem((*PLACE, "tasks"), str(error))]
    return []
