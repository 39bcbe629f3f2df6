"""Made-up inputs of a wanted length, so that a benchmark needs no data: tokens for texts, sizes for free axes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError

# Common words of one token in most vocabularies.
WORDS = (
    "the", "time", "people", "water", "house", "light", "small", "river", "green",
    "paper", "music", "short", "night", "table", "garden", "train", "summer",
)  # fmt: skip
QUERY_WORDS = 6  # of a pair; the rest of its tokens are the document's


def has_lengths(task: Any) -> bool:
    """Whether items of the task can have different lengths."""
    if task.contract == "tokens" or hasattr(task, "text"):
        return True
    return any(given.free for given in getattr(task, "inputs", ()))


def longest(task: Any) -> int | None:
    """The most tokens of an item; None where nothing limits it."""
    return task.text.max_length if hasattr(task, "text") else None


def made(task: Any, count: int, length: int | None, samples: Sequence[Any] = ()) -> list[Any]:
    """`count` items of a task.

    Args:
        task: of a loaded model or artifact.
        count: items.
        length: of texts in tokens, special ones included; of arrays the size of their free axes. None for a task
            whose items have one size.
        samples: the user's, used as they are where `length` is None, and for their words otherwise.

    Raises:
        QuantbentoError: no item of the task can have this length.
    """
    if length is None:
        items = list(samples) or task.examples()
        return [items[i % len(items)] for i in range(count)]
    if task.contract == "tokens":
        return [_prompt(task, length, samples, start) for start in range(count)]
    if hasattr(task, "text"):
        return [_text(task, length, samples, start) for start in range(count)]
    return [_arrays(task, length)] * count


def _text(task: Any, length: int, samples: Sequence[Any], start: int) -> Any:
    """An item of exactly `length` tokens. `start` says with which word it begins, so that items differ."""

    def tokens(words: Sequence[str]) -> int:
        return task.length(task.encode(_item(task, words)))

    least = len(task.fields)  # words that an item needs
    single = [w for w in _words(samples) if tokens([w] * 8) - tokens([w] * 7) == 1] or ["a"]
    around = tokens([single[0]] * least) - least  # special tokens, and a prompt that the task puts before a text
    words = [single[(start + i) % len(single)] for i in range(max(least, length - around))]
    if tokens(words) != length:
        most = task.text.max_length
        raise QuantbentoError(f"length {length}: allowed are {around + least} to {most} tokens, special ones included")
    return _item(task, words)


def _item(task: Any, words: Sequence[str]) -> Any:
    if len(task.fields) == 1:
        return " ".join(words)
    cut = min(QUERY_WORDS, len(words) // 2)
    return dict(zip(task.fields, (" ".join(words[:cut]), " ".join(words[cut:])), strict=True))


def _prompt(task: Any, length: int, samples: Sequence[Any], start: int) -> list[int]:
    """Token ids of a prompt."""
    words = itertools.islice(itertools.cycle(_words(samples)), start, None)
    ids: list[int] = []
    while len(ids) < length:
        ids = task.text_ids(" ".join(itertools.islice(words, 2 * length)))
    return ids[:length]


def _words(samples: Sequence[Any]) -> Sequence[str]:
    texts = (value for item in samples for value in (item.values() if isinstance(item, dict) else [item]))
    return [word for text in texts if isinstance(text, str) for word in text.split()] or WORDS


def _arrays(task: Any, length: int) -> dict[str, np.ndarray]:
    """An item whose free axes all have the size `length`."""
    sized = [
        replace(given, sizes=tuple(length if n is None else n for n in given.shape)) if given.free else given
        for given in task.inputs
    ]
    return {given.name: given.example() for given in sized}
