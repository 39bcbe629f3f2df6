"""Which nodes of a graph cannot be quantized without harm, and how harm is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Advance
from quantbento.runtimes.base import ArrayRuntime
from quantbento.tasks.base import Arrays
from quantbento.tasks.rows import flat, holds_floats


def harmful(
    quality: Callable[[list[str]], float],
    nodes: Sequence[str],
    least: float,
    advance: Advance,
    gains: Mapping[str, float] | None = None,
) -> list[str]:
    """The nodes that have to stay in full precision, as far as trying each alone tells: those that do the most harm for
    what they gain.

    Args:
        quality: SQNR of the outputs in dB when only these nodes are quantized.
        nodes: that could be quantized.
        least: the quality that is needed.
        gains: what quantizing each of them is worth, such as the time it takes; by default all are worth the same.

    Raises:
        QuantbentoError: any of them is too much.
    """
    if quality(list(nodes)) >= least:
        return []
    alone = {}
    for place, node in enumerate(nodes):
        alone[node] = quality([node])
        advance(place + 1, len(nodes))
    worth = gains or {}
    best_first = sorted(nodes, key=lambda node: 10 ** (-alone[node] / 10) / worth.get(node, 1.0))  # noise for its gain
    enough, too_many = 0, len(nodes)
    while too_many - enough > 1:  # quantizing more never makes the outputs better
        middle = (enough + too_many) // 2
        if quality(best_first[:middle]) >= least:
            enough = middle
        else:
            too_many = middle
    if not enough:
        best = max(nodes, key=lambda node: alone[node])
        raise QuantbentoError(
            f"min_sqnr_db {least:g} cannot be reached: with {best} alone quantized, there are {alone[best]:.1f} dB; "
            "ask for less"
        )
    return best_first[enough:]


def answers(runtime: ArrayRuntime, task: Any, batches: Iterable[Arrays]) -> np.ndarray:
    """All floats of what the task makes of a model's outputs for some batches, flat. Outputs for padding are not among
    them."""
    made = [rows for batch in batches for rows in task.postprocess(runtime.run(batch), batch).values()]
    return np.concatenate([flat(rows) for rows in made if holds_floats(rows)])
