"""What is wrong with `mixed` and `on_fail` of a variant, before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantbento.core.errors import one_of
from quantbento.making.inspection import Inspection
from quantbento.quantizers.base import Quantizer
from quantbento.recipe.document import Loc
from quantbento.recipe.gates import METRIC_RULES
from quantbento.tasks.base import Task


def mixed_problems(
    found: Inspection,
    task: type[Task] | None,
    quantizer: type[Quantizer],
    options: Any,
    variant: Mapping[str, Any],
    recipe: Mapping[str, Any],
    where: Loc,
) -> None:
    """Adds the problems to `found`. The data may be of any shape; `options` are None if they are wrong."""
    mixed, repair = variant.get("mixed"), variant.get("on_fail")
    if mixed is None and repair is None:
        return
    key = "mixed" if mixed is not None else "on_fail"
    if quantizer.layers is Quantizer.layers:
        told = f"{quantizer.name!r} has no layers that it could keep in full precision or give more bits"
        found.say((*where, key), f"{told}; leave {key} out, or take another quantizer")
        return
    if mixed is not None and repair is not None:
        found.say((*where, "on_fail"), "`mixed` holds the gates on metrics already; leave on_fail out")
    if repair is not None and not (_has_limits(recipe.get("gates")) or _has_limits(variant.get("gates"))):
        found.say((*where, "on_fail"), f"there is no gate on a metric ({one_of(METRIC_RULES)}) that could fail")
    if task is not None:
        found.metrics(task, mixed, (*where, "mixed"))
    average = mixed.get("avg_bits") if isinstance(mixed, dict) else None
    if options is not None and isinstance(average, int | float):
        _range(found, quantizer, options, float(average), (*where, "mixed", "avg_bits"))


def _range(found: Inspection, quantizer: type[Quantizer], options: Any, average: float, where: Loc) -> None:
    least = min(quantizer().weight_bits(options).values())
    most = 16.0 if quantizer.starts_from == ("checkpoint",) else 32.0
    if average < least:
        needs = f"{quantizer.name} with these options needs {least:.4g} bits per weight, with scales"
        found.say(where, f"{average:g} is too few: {needs}; allowed: {least:.4g} to {most:g}")
    elif average >= most:
        found.say(where, f"{average:g} is full precision; allowed: {least:.4g} to {most:g}")


def _has_limits(gates: Any) -> bool:
    return isinstance(gates, dict) and any(gates.get(rule) for rule in (*METRIC_RULES, "level"))
