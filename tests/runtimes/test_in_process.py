"""What every engine in the process refuses, and the room that it makes for scores."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.runtimes.in_process import InProcessModel
from quantbento.runtimes.language_model import Sampling


class Engine(InProcessModel):
    """Knows 10 tokens, takes 8 at once, and is never asked."""

    name, modules, distributions = "engine", (), ()
    max_model_len = 8
    _tokenizer, _ends, _vocabulary = None, {9}, 10

    def __init__(self):
        pass

    load = generate = score = _pieces = None


@pytest.mark.parametrize(
    ("prompt", "sampling", "message"),
    [
        ([], Sampling(), "a prompt needs at least one token"),
        ([1], Sampling(4, stop=("",)), "a stop string must not be empty"),
        ([1] * 5, Sampling(4), "5 tokens and 4 to generate; the model takes at most 8"),
        ([1, 10], Sampling(4), "tokens 1 to 10; the model knows 0 to 9"),
        ([-1], Sampling(4), "tokens -1 to -1; the model knows 0 to 9"),
    ],
)
def test_what_cannot_be_continued_is_refused_by_the_call_itself(prompt, sampling, message):
    with pytest.raises(InvalidInput, match=message):
        Engine().stream(prompt, sampling)


def test_windows_are_checked_before_there_is_room_for_their_scores():
    room = Engine()._empty_scores(np.ones((2, 8), np.int64), top=3)
    assert {name: (array.shape, array.dtype) for name, array in room.items()} == {
        "token_logprobs": ((2, 7), np.float32),
        "top_ids": ((2, 7, 3), np.int32),
        "top_logprobs": ((2, 7, 3), np.float32),
    }
    windows = np.ones((2, 8), np.int64)
    windows[1, 3] = 10
    with pytest.raises(InvalidInput, match="knows 0 to 9") as refused:
        Engine()._empty_scores(windows, top=3)
    assert refused.value.index == 1
