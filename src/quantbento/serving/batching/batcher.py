"""Runs requests together: a batch is made of what waits whenever the model is free, not by waiting for more.

All of it happens on the server's event loop, but for the model itself, which runs in threads of its own, as many as it
can run batches at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from quantbento.serving.batching.metrics import BatchMetrics
from quantbento.serving.batching.pace import Pace
from quantbento.serving.batching.queue import Call, Entry, FairQueue, Ran
from quantbento.serving.errors import ClientLeft, Overloaded

MARGIN = 1.02  # of a prediction, so that what is accepted is in time
PAUSE = 0.02  # before the first batch, as a part of the time that it takes
LONGEST_PAUSE = 0.005  # seconds
SHORT = 0.1  # seconds of a batch that is soon over


class BatchModel(Protocol):
    """What a batcher runs.

    Attributes:
        parallel: batches that it runs at once, each in the thread that asks for it.
    """

    @property
    def parallel(self) -> int: ...

    def size(self, item: Any) -> int:
        """About how much work an item is, in tokens or in items of equal work; at least 1."""

    def run(self, items: Sequence[Any]) -> list[Any]:
        """An answer for each item; what stands for one that failed is the model's affair. Never raises for an item."""


@dataclass(frozen=True)
class Limits:
    """
    Attributes:
        batch_items, batch_size: of a batch, with each item as long as the longest.
        queue_items, queue_size: of what waits; more is refused.
        wait_seconds: a request that would wait longer is refused.
    """

    batch_items: int
    batch_size: int
    queue_items: int
    queue_size: int
    wait_seconds: float


class Batcher:
    """One per model and process. Belongs to the event loop that first asks it."""

    def __init__(self, model: BatchModel, limits: Limits, metrics: BatchMetrics) -> None:
        self._model, self._limits, self._metrics = model, limits, metrics
        self._queue, self._pace = FairQueue(), Pace()
        self._threads = ThreadPoolExecutor(model.parallel, "quantbento-batch")
        self._scheduled = False
        self._traced = False  # whether anyone asked how a request ran
        self._ends: list[float] = []  # when each batch that runs, or is the next to, is expected to be done

    async def answers(
        self,
        items: Sequence[Any],
        deadline: float = math.inf,
        gone: Callable[[], bool] = lambda: False,
        ran: Ran | None = None,
    ) -> list[Any]:
        """The model's answers, in order.

        Args:
            items: one request's.
            deadline: in the event loop's time; a request that cannot be answered by then is refused.
            gone: whether the client has left; then its items are not computed.
            ran: is told how the request ran.

        Raises:
            Overloaded: 503, before anything is computed.
        """
        loop = asyncio.get_running_loop()
        sizes = [self._model.size(item) for item in items]
        self._refuse_what_would_be_late(sizes, deadline - loop.time())
        call = Call(items, sizes, loop.create_future(), gone, ran)
        self._traced = self._traced or ran is not None
        self._queue.put(call)
        self._start_soon(loop)
        try:
            return await call.answered
        finally:  # also where the endpoint is cancelled, at its deadline
            if call.waiting:
                self._queue.drop(call)
                self._metrics.cancelled.inc()

    def learn(self, items: Sequence[Any]) -> None:
        """Runs a batch to learn how long one takes, and raises what the model raises. Before the first request."""
        _, seconds = self._timed(items)
        self._pace.learn(sum(map(self._model.size, items)), seconds)

    @property
    def busy(self) -> bool:
        """Whether something waits or runs."""
        return bool(self._queue.items or self._ends)

    def close(self) -> None:
        """Ends the threads, once what runs is done."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _refuse_what_would_be_late(self, sizes: Sequence[int], left: float) -> None:
        """
        Raises:
            Overloaded: the queue is full, or the request would be done after `left` seconds.
        """
        queue, limits = self._queue, self._limits
        if queue.items and (
            queue.items + len(sizes) > limits.queue_items or queue.size + sum(sizes) > limits.queue_size
        ):
            reason = f"{queue.items} items wait for the model (max_queue_items {limits.queue_items})"
        else:
            wait = self._seconds_until_done(len(sizes), sum(sizes))
            if wait * MARGIN <= left and wait <= limits.wait_seconds:
                return
            reason = f"a request would take {wait:.2f} s now, and has {max(0.0, min(left, limits.wait_seconds)):.2f} s"
        self._metrics.refused.inc()
        raise Overloaded(f"overloaded: {reason}", retry_after=self._seconds_for(queue.items, queue.size))

    def _seconds_until_done(self, items: int, size: int) -> float:
        """Of a request that comes now."""
        items_ahead, size_ahead = self._queue.ahead(size)
        start = 0.0 if self._free > 0 else max(0.0, min(self._ends) - time.perf_counter())
        return start + self._seconds_for(items + items_ahead, size + size_ahead)

    def _seconds_for(self, items: int, size: int) -> float:
        """For the model to run so much, several batches at once."""
        batches = max(-(-items // self._limits.batch_items), -(-size // self._limits.batch_size))
        return -(-batches // self._model.parallel) * self._pace.seconds(size / batches) if batches else 0.0

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once the requests that came together are all in the queue. Of a burst, the first would run alone, and those
        after it wait for a whole batch; so where batches take long, it waits for a moment."""
        if not self._scheduled:
            self._scheduled = True
            pause = min(PAUSE * self._pace.seconds(self._queue.size), LONGEST_PAUSE) if self._free > 0 else 0
            if pause < 0.001:
                loop.call_soon(self._start_batches, loop)
            else:
                loop.call_later(pause, self._start_batches, loop)

    def _start_batches(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        while self._queue.items and (self._free > 0 or self._one_ahead()):
            fair = -(-self._queue.items // max(1, self._free))  # where several threads are free, each gets its part
            batch = self._queue.take(min(fair, self._limits.batch_items), self._limits.batch_size)
            if batch := self._still_wanted(batch):
                self._start(batch, loop)

    @property
    def _free(self) -> int:
        """Threads without a batch."""
        return self._model.parallel - len(self._ends)

    def _one_ahead(self) -> bool:
        """Whether to give the threads one batch more than they run. Short batches would wait for the event loop, which
        has other work, and the threads with them; but who leaves is noticed only before."""
        full = self._queue.items >= self._limits.batch_items
        return full and self._free == 0 and self._pace.seconds(self._limits.batch_size / 2) < SHORT

    def _still_wanted(self, batch: list[Entry]) -> list[Entry]:
        """Without those of clients that have left."""
        for call in {entry.call for entry in batch}:
            if not call.answered.done() and call.gone():
                call.fail(ClientLeft())
                self._queue.drop(call)
                self._metrics.cancelled.inc()
        return [entry for entry in batch if not entry.call.answered.done()]

    def _start(self, batch: list[Entry], loop: asyncio.AbstractEventLoop) -> None:
        size = sum(entry.size for entry in batch)
        start = time.perf_counter()
        self._ends.append(end := start + self._pace.seconds(size))
        self._metrics.started(len(batch), size, [start - entry.call.came for entry in batch])
        if self._traced:
            _tell_how_it_ran(batch, start)
        running = loop.run_in_executor(self._threads, self._timed, [entry.item for entry in batch])

        def done(finished: asyncio.Future[tuple[list[Any], float]]) -> None:
            self._ends.remove(end)
            try:
                answers, seconds = finished.result()
                self._pace.learn(size, seconds)
            except BaseException as error:  # also where the threads ended
                for entry in batch:
                    entry.call.fail(error)
            else:
                for entry, answer in zip(batch, answers, strict=True):
                    entry.call.answer(entry.place, answer)
            self._start_batches(loop)

        running.add_done_callback(done)

    def _timed(self, items: Sequence[Any]) -> tuple[list[Any], float]:
        """The answers and the seconds that they took, in the thread that runs the model."""
        start = time.perf_counter()
        return self._model.run(items), time.perf_counter() - start


def _tell_how_it_ran(batch: list[Entry], start: float) -> None:
    for entry in batch:
        if (ran := entry.call.ran) is not None:
            ran.batch_items = max(ran.batch_items, len(batch))
            ran.waited = max(ran.waited, start - entry.call.came)
