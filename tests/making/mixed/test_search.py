"""The search finds the fewest moves, in few attempts, and says when there are none."""

from __future__ import annotations

import pytest

from quantbento.making.mixed.moves import Move
from quantbento.making.mixed.search import fewest

MOVES = [Move(f"layer{number}", 0, 1.0, 10.0 * (number + 1)) for number in range(40)]


class Tried:
    def __init__(self, holds) -> None:
        self.holds, self.attempts = holds, []

    def __call__(self, moves) -> bool:
        self.attempts.append(moves)
        return self.holds(moves)


@pytest.mark.parametrize("needed", [1, 2, 13, 39])
def test_the_shortest_prefix_is_found(needed):
    tried = Tried(lambda moves: set(MOVES[:needed]) <= set(moves))
    assert fewest(MOVES, tried, 20) == MOVES[:needed]
    assert len(tried.attempts) <= 6 + 3


def test_moves_that_were_not_needed_are_taken_back():
    tried = Tried(lambda moves: MOVES[9] in moves)
    found = fewest(MOVES, tried, 20)
    assert found == [move for move in MOVES[:10] if move not in MOVES[6:9]]  # the three that cost most


def test_attempts_are_bounded():
    tried = Tried(lambda moves: len(moves) >= 20)
    assert len(fewest(MOVES, tried, 2)) >= 20
    assert len(tried.attempts) == 2


def test_a_goal_that_never_holds():
    tried = Tried(lambda moves: False)
    assert fewest(MOVES, tried, 20) is None
    assert len(tried.attempts) <= 6


def test_a_layers_first_move_is_not_taken_back_alone():
    moves = [Move("a", 8, 2.0, 100.0), Move("a", 0, 1.0, 200.0), Move("b", 8, 0.5, 1.0), Move("b", 0, 0.1, 1.0)]
    tried = Tried(lambda chosen: moves[2] in chosen)
    found = fewest(moves, tried, 20)
    assert found is not None
    assert all(moves[0] in attempt for attempt in tried.attempts if moves[1] in attempt)
