"""Requests of the last hours in constant memory: counts in slices of time, in a ring that overwrites the oldest."""

from __future__ import annotations

import bisect
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quantbento.serving.asgi import TURNED_AWAY

SLICE = 10  # seconds
KEPT = 2161  # slices: six hours, and the one that is being filled
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # seconds
REQUESTS, UNAVAILABLE, FAILED, SLOW, FIRST = range(5)  # columns; from the last on, answers by how long they took


@dataclass(frozen=True)
class Sums:
    """
    Attributes:
        requests: that got a status.
        unavailable: of them, those without an answer: 500 or more, or 429.
        failed: those of 500 or more, without 503.
        slow: answers that took longer than the objective.
        answers: with a status below 400.
    """

    requests: int
    unavailable: int
    failed: int
    slow: int
    by_seconds: Sequence[int]

    @property
    def answers(self) -> int:
        return sum(self.by_seconds)

    def quantile(self, share: float) -> float | None:
        """Seconds that this share of the answers took at most, linear within a bucket as in Prometheus'
        `histogram_quantile`; None without answers."""
        rank, below = share * self.answers, 0
        for count, (low, high) in zip(self.by_seconds, pairwise((0.0, *BOUNDS)), strict=False):
            if count and below + count >= rank:
                return low + (high - low) * (rank - below) / count
            below += count
        return BOUNDS[-1] if self.answers else None


class RequestWindow:
    """Belongs to one thread."""

    def __init__(self, slow: float | None = None) -> None:
        """`slow` is what an answer may take, in seconds."""
        self._slow = float("inf") if slow is None else slow
        self._width = FIRST + len(BOUNDS) + 1
        self._counts = array("Q", bytes(8 * KEPT * self._width))
        self._began = time.monotonic()
        self._slice = int(self._began / SLICE)

    def age(self) -> float:
        """Seconds since the first could have come."""
        return time.monotonic() - self._began

    def note(self, status: int, seconds: float) -> None:
        """A request has got its answer, or an error."""
        counts, start = self._counts, self._turn() % KEPT * self._width
        counts[start + REQUESTS] += 1
        if status >= 500 or status == 429:
            counts[start + UNAVAILABLE] += 1
            counts[start + FAILED] += status not in TURNED_AWAY
        elif status < 400:
            counts[start + SLOW] += seconds > self._slow
            counts[start + FIRST + bisect.bisect_left(BOUNDS, seconds)] += 1

    def sums(self, seconds: int) -> Sums:
        """Of the last so many seconds, to a slice."""
        now, width = self._turn(), self._width
        columns = [0] * width
        for number in range(now - seconds // SLICE + 1, now + 1):
            start = number % KEPT * width
            if self._counts[start]:
                for column in range(width):
                    columns[column] += self._counts[start + column]
        requests, unavailable, failed, slow = columns[:FIRST]
        return Sums(requests, unavailable, failed, slow, columns[FIRST:])

    def _turn(self) -> int:
        """The slice of now; those since the last are empty."""
        now = int(time.monotonic() / SLICE)
        if now != self._slice:
            empty = array("Q", bytes(8 * self._width))
            for number in range(max(self._slice + 1, now - KEPT + 1), now + 1):
                start = number % KEPT * self._width
                self._counts[start : start + self._width] = empty
            self._slice = now
        return now
