"""What waits for a model: the items of all requests, in an order that shares the model fairly among them.

Each item has a place in virtual time, as in fair queueing (Demers, Keshav and Shenker, "Analysis and simulation of a
fair queueing algorithm", 1989): a request's first item is due now, each further one as much later as the items before
it are large. So a short request does not wait for all of a long one that came before it.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from quantbento.runtimes.chunks import BATCH

WINDOW = 8  # batches' worth of items that a batch is chosen from
LEAST_SHARE = 4  # a large request gets at least this part of the model, however many small ones come


@dataclass(slots=True)
class Ran:
    """How a request ran, for whoever traces it.

    Attributes:
        batch_items: in the largest of its batches, those of other requests included.
        waited: seconds until the last of its items was in a batch.
    """

    batch_items: int = 0
    waited: float = 0.0


@dataclass(eq=False, slots=True)
class Call:
    """The items of one request.

    Attributes:
        items: what the model gets.
        sizes: of the items, in tokens or in items of equal work.
        answered: gets the answers, in order. Once it is done, by whatever cause, no further item is computed.
        gone: whether nobody waits for the answers any more.
        came: when, in the time of `time.perf_counter`.
        ran: is told how it ran; None where nobody asks.
    """

    items: Sequence[Any]
    sizes: Sequence[int]
    answered: asyncio.Future[list[Any]]
    gone: Callable[[], bool]
    ran: Ran | None = None
    answers: list[Any] = field(init=False)
    missing: int = field(init=False)  # answers
    came: float = field(default_factory=time.perf_counter)
    waiting: int = 0  # items in the queue
    waiting_size: int = 0

    def __post_init__(self) -> None:
        self.missing = len(self.items)
        self.answers = [None] * self.missing

    def answer(self, place: int, answer: Any) -> None:
        """One item's answer."""
        self.answers[place] = answer
        self.missing -= 1
        if not self.missing and not self.answered.done():
            self.answered.set_result(self.answers)

    def fail(self, error: BaseException) -> None:
        """The whole request has no answer."""
        if not self.answered.done():
            self.answered.set_exception(error)


class Entry(NamedTuple):
    """One item in the queue; entries compare by when they are due, and then by when they came."""

    due: float
    number: int
    size: int
    call: Call
    place: int

    @property
    def item(self) -> Any:
        return self.call.items[self.place]


class FairQueue:
    """
    Attributes:
        items: how many wait.
        size: theirs together.
    """

    def __init__(self) -> None:
        self.items, self.size = 0, 0
        self._entries: list[Entry] = []
        self._calls = 0  # with items here
        self._now = 0.0  # in virtual time
        self._numbers = itertools.count()

    def put(self, call: Call) -> None:
        """Adds a request's items."""
        due = self._now
        for place, size in enumerate(call.sizes):
            bisect.insort(self._entries, Entry(due, next(self._numbers), size, call, place))
            due += size
        call.waiting, call.waiting_size = len(call.items), sum(call.sizes)
        self.items, self.size, self._calls = self.items + call.waiting, self.size + call.waiting_size, self._calls + 1

    def ahead(self, size: int) -> tuple[int, int]:
        """How many items run before the last of a request of this size, if it came now, and their size; roughly."""
        if not self.items:
            return 0, 0
        before = min(self.items, bisect.bisect_left(self._entries, self._now + size, key=lambda entry: entry.due))
        return before, before * self.size // self.items

    def drop(self, call: Call) -> None:
        """Forgets a request's items that still wait."""
        if call.waiting:
            self._entries = [entry for entry in self._entries if entry.call is not call]
            self._leave(call, call.waiting, call.waiting_size)

    def take(self, most: int, budget: int) -> list[Entry]:
        """The items of the next batch: the one that is due first and, of those that are due soon, others of about its
        size. Empty where none waits.

        Args:
            most: items in a batch.
            budget: its largest size, with each item as long as the longest; one larger item goes alone.
        """
        if not self._entries:
            return []
        window = self._entries[: most * WINDOW]
        batch = _batch(window, most, budget)
        taken = {entry.number for entry in batch}
        self._entries[: len(window)] = [entry for entry in window if entry.number not in taken]
        share = min(self._calls, LEAST_SHARE)
        for entry in batch:
            self._leave(entry.call, 1, entry.size)
        self._now = max(self._now, window[0].due) + sum(entry.size for entry in batch) / share
        return batch

    def _leave(self, call: Call, items: int, size: int) -> None:
        call.waiting, call.waiting_size = call.waiting - items, call.waiting_size - size
        self.items, self.size = self.items - items, self.size - size
        self._calls -= not call.waiting


def _batch(window: Sequence[Entry], most: int, budget: int) -> list[Entry]:
    """Grows from the first entry to its neighbours by size, while that pads less than another batch costs."""
    by_size = sorted(window, key=lambda entry: entry.size)
    low = by_size.index(window[0])
    high = low + 1
    while high - low < min(most, len(by_size)):
        longest = by_size[high - 1].size
        shorter = longest - by_size[low - 1].size if low else BATCH + 1
        longer = (high - low) * (by_size[high].size - longest) if high < len(by_size) else BATCH + 1
        if min(shorter, longer) > BATCH:
            break
        low, high = (low - 1, high) if shorter <= longer else (low, high + 1)
        if (high - low) * by_size[high - 1].size > budget:
            low, high = (low + 1, high) if shorter <= longer else (low, high - 1)
            break
    return by_size[low:high]
