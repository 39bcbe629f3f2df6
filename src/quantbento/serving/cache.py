"""Answers that were given before, by what was asked: the most recently used, in bounded memory."""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from quantbento.serving.answers import Failed
from quantbento.serving.metric import counter

KEY_BYTES = 16  # two of a billion items have the same key with a chance of one in 10^20
ENTRY_BYTES = 250  # of the key and its place in the order


class ResponseCache:
    """Of one version of a model. Belongs to the event loop."""

    def __init__(self, items: int, most_bytes: int, digest: str, tag: str) -> None:
        """
        Args:
            items: the most answers to keep.
            most_bytes: that they may take.
            digest: of the model, part of every key.
            tag: of the model, for the metrics.
        """
        self._items, self._most_bytes, self.bytes = items, most_bytes, 0
        self._start = hashlib.blake2b(digest.encode(), digest_size=KEY_BYTES)
        self._entries: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        labels = {"model": tag}
        self._hits = counter("cache_hits", "Items whose answer was in the cache", labels)
        self._misses = counter("cache_misses", "Items whose answer was not in the cache", labels)

    def __len__(self) -> int:
        return len(self._entries)

    async def answers(
        self, checked: Sequence[Any], compute: Callable[[Sequence[Any]], Awaitable[list[Any]]]
    ) -> list[Any]:
        """An answer or a `Failed` for each item; `compute` gives those that are not here. Raises what it raises."""
        keys = [self._key(item) for item in checked]
        answers = [self._get(key) for key in keys]
        missing = [place for place, answer in enumerate(answers) if answer is _MISSING]
        self._hits.inc(len(answers) - len(missing))
        self._misses.inc(len(missing))
        if missing:
            computed = await compute([checked[place] for place in missing])
            for place, answer in zip(missing, computed, strict=True):
                answers[place] = answer
                self._put(keys[place], answer)
        return answers

    def _key(self, item: Any) -> bytes | None:
        """None for an item that cannot be told from others by its bytes."""
        key = self._start.copy()
        try:
            _feed(key.update, item)
        except TypeError:
            return None
        return key.digest()

    def _get(self, key: bytes | None) -> Any:
        if key is None or key not in self._entries:
            return _MISSING
        self._entries.move_to_end(key)
        return _copied(self._entries[key][0])  # whoever gets it may change it

    def _put(self, key: bytes | None, answer: Any) -> None:
        if key is None or isinstance(answer, Failed):
            return
        try:
            kept = _copied(answer)  # a row would keep its whole batch in memory
        except TypeError:
            return
        size = ENTRY_BYTES + _size(kept)
        if size > self._most_bytes:
            return
        self.bytes += size - self._entries.pop(key, (None, 0))[1]
        self._entries[key] = kept, size
        while len(self._entries) > self._items or self.bytes > self._most_bytes:
            self.bytes -= self._entries.popitem(last=False)[1][1]


_MISSING = object()


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    """Each value with its type and length, so that no two have the same bytes; raises `TypeError` for other types."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects")
        update(f"a{value.dtype.str}{value.shape}".encode())
        update(value.tobytes())
    elif isinstance(value, str | bytes):
        text = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        update(f"{type(value).__name__[0]}{len(text)}:".encode())
        update(text)
    elif value is None or isinstance(value, bool | int | float):
        update(f"{type(value).__name__}{value!r};".encode())
    elif isinstance(value, list | tuple):
        update(f"l{len(value)}:".encode())
        for each in value:
            _feed(update, each)
    elif isinstance(value, dict):
        update(f"m{len(value)}:".encode())
        for name in sorted(value):
            _feed(update, name)
            _feed(update, value[name])
    else:
        raise TypeError(f"{type(value).__name__} has no canonical bytes")


def _copied(answer: Any) -> Any:
    """Raises `TypeError` for what cannot be copied and measured."""
    if isinstance(answer, np.ndarray) and not answer.dtype.hasobject:
        return answer.copy(order="K")
    if answer is None or isinstance(answer, str | bytes | bool | int | float | np.generic):
        return answer
    if type(answer) is dict:
        return {name: _copied(value) for name, value in answer.items()}
    if type(answer) in (list, tuple):
        return type(answer)(map(_copied, answer))
    raise TypeError(f"{type(answer).__name__} is not kept")


def _size(answer: Any) -> int:
    """Bytes of a copied answer, those of its arrays included."""
    parts = [*answer, *answer.values()] if isinstance(answer, dict) else answer
    inner = sum(map(_size, parts)) if isinstance(answer, dict | list | tuple) else 0
    return sys.getsizeof(answer) + inner
