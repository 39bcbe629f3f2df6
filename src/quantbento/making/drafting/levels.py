"""Gates from a task's metrics: a variant keeps 99 % of full precision's quality or 99.9 %, the levels of MLPerf
Inference, or 99.5 %."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quantbento.tasks.base import Metric, Task

LEVELS = {"99": 0.99, "99.5": 0.995, "99.9": 0.999}


def gates(task: type[Task], metrics: Mapping[str, Metric], level: str, labelled: bool) -> dict[str, Any]:
    """A recipe's gates: on the first metric of the task's summary that these samples allow to measure. Empty if none
    has a natural limit, as of a number's difference.

    Args:
        metrics: those that are measured of this model.
        level: a key of `LEVELS`.
        labelled: whether the samples have labels.
    """
    for name in (*task.primary, *metrics):
        metric = metrics.get(name)
        if metric is None or (metric.labelled and not labelled):
            continue
        if name.endswith("_db"):  # of noise against signal: its share of the energy is what is lost
            return {"min": {name: round(-10 * math.log10(1 - LEVELS[level]), 1)}}
        if metric.recovers:
            return {"min_recovery": {name: LEVELS[level]}}
    return {}
