"""The fewest moves with which a goal holds, in a bounded number of attempts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quantbento.making.mixed.moves import Move

REFINEMENTS = 3  # attempts to take single moves back, once a goal holds


def fewest(moves: Sequence[Move], holds: Callable[[list[Move]], bool], most: int) -> list[Move] | None:
    """Binary search over the ranking, then the costliest moves are taken back one by one where the goal holds without.

    Args:
        moves: in the order that pays most. With none of them the goal does not hold.
        holds: quantizes and evaluates with some of them.
        most: how often `holds` may be called.

    Returns:
        None if the goal did not hold in any attempt.
    """
    too_few, enough, left = 0, len(moves), most
    found: list[Move] | None = None
    while enough - too_few > 1 and left:
        middle = (too_few + enough) // 2
        left -= 1
        if holds(list(moves[:middle])):
            found, enough = list(moves[:middle]), middle
        else:
            too_few = middle
    if found is None:
        return None
    for move in sorted(_last_of_layers(found)[:-1], key=lambda m: -m.cost)[: min(left, REFINEMENTS)]:
        without = [m for m in found if m is not move]
        if holds(without):
            found = without
    return found


def _last_of_layers(moves: Sequence[Move]) -> list[Move]:
    """Each layer's last move: only that can be taken back."""
    last = {move.layer: move for move in moves}
    return [move for move in moves if last[move.layer] is move]
