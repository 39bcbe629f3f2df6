"""Which nodes of a graph cannot be quantized without harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Advance


def harmful(quality: Callable[[list[str]], float], nodes: Sequence[str], least: float, advance: Advance) -> list[str]:
    """The fewest nodes that have to stay in full precision, as far as trying each alone tells: those that do the most
    harm alone.

    Args:
        quality: of the outputs when only these nodes are quantized; higher is better.
        nodes: that could be quantized.
        least: the quality that is needed.

    Raises:
        QuantbentoError: any of them is too much.
    """
    if quality(list(nodes)) >= least:
        return []
    alone = {}
    for place, node in enumerate(nodes):
        alone[node] = quality([node])
        advance(place + 1, len(nodes))
    best_first = sorted(nodes, key=lambda node: -alone[node])
    enough, too_many = 0, len(nodes)
    while too_many - enough > 1:  # quantizing more never makes the outputs better
        middle = (enough + too_many) // 2
        if quality(best_first[:middle]) >= least:
            enough = middle
        else:
            too_many = middle
    if not enough:
        best = best_first[0]
        raise QuantbentoError(
            f"min_sqnr_db {least:g} cannot be reached: with {best} alone quantized, there are {alone[best]:.1f} dB"
        )
    return best_first[enough:]
