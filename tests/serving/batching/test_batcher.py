"""Requests run together, are refused before it is too late, and cost nothing once nobody waits for them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from quantbento.serving.batching.batcher import SHORT, Batcher, Limits
from quantbento.serving.batching.metrics import BatchMetrics
from quantbento.serving.errors import ClientLeft, Overloaded

LIMITS = Limits(batch_items=4, batch_size=1000, queue_items=100, queue_size=10_000, wait_seconds=60)


class Model:
    """Answers a number with its double, and keeps the batches. `open` lets it run."""

    def __init__(self, parallel: int = 1, seconds: float = 0.0) -> None:
        self.parallel, self.seconds = parallel, seconds
        self.batches: list[list[Any]] = []
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None

    def size(self, item: int) -> int:
        return 1

    def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        assert self.open.wait(10)
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return [2 * item for item in items]


class Counted(BatchMetrics):
    def __init__(self) -> None:
        super().__init__("a model")
        self.refused, self.cancelled = _Count(), _Count()


class _Count:
    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        self.value += 1


def batcher(model: Model, limits: Limits = LIMITS) -> Batcher:
    return Batcher(model, limits, Counted())


def test_one_request_alone_runs_at_once():
    model = Model()
    assert asyncio.run(batcher(model).answers([1, 2])) == [2, 4]
    assert model.batches == [[1, 2]]


def test_requests_that_wait_run_together_and_get_their_own_answers():
    model = Model()
    model.open.clear()

    async def ask():
        runs = batcher(model)
        first = asyncio.create_task(runs.answers([0]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(runs.answers([i, -i])) for i in range(1, 5)]
        await asyncio.sleep(0.05)
        model.open.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(ask()) == [[0], *([2 * i, -2 * i] for i in range(1, 5))]
    assert [len(batch) for batch in model.batches] == [1, 4, 4]


def test_requests_that_come_together_start_together():
    model = Model()

    async def ask():
        runs = batcher(model)
        return await asyncio.gather(*(runs.answers([i]) for i in range(4)))

    assert asyncio.run(ask()) == [[0], [2], [4], [6]]
    assert model.batches == [[0, 1, 2, 3]]


def test_a_large_request_takes_every_thread():
    model = Model(parallel=2, seconds=0.05)
    start = time.perf_counter()
    assert asyncio.run(batcher(model).answers([1, 2, 3, 4])) == [2, 4, 6, 8]
    assert sorted(map(len, model.batches)) == [2, 2]
    assert time.perf_counter() - start < 0.095  # at once, not in turn


def test_what_would_be_late_is_refused_at_once_with_when_to_come_back():
    model = Model(seconds=0.1)

    async def ask():
        runs = batcher(model)
        runs.learn([1])
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(runs.answers([i], loop.time() + 0.25)) for i in range(40)]
        refused = []
        for task in tasks:
            start = time.perf_counter()
            try:
                await task
            except Overloaded as error:
                refused.append((error, time.perf_counter() - start))
        return refused, runs._metrics.refused.value

    refused, counted = asyncio.run(ask())
    assert len(refused) == counted == 40 - 2 * LIMITS.batch_items
    assert "a request would take 0.3" in str(refused[0][0])
    assert refused[0][0].retry_after == pytest.approx(0.2, abs=0.05)
    assert [len(b) for b in model.batches[1:]] == [4, 4]  # and nothing of them was computed


def test_the_queue_is_bounded():
    model = Model()
    model.open.clear()
    limits = Limits(batch_items=4, batch_size=1000, queue_items=3, queue_size=10_000, wait_seconds=60)

    async def ask():
        runs = batcher(model, limits)
        tasks = [asyncio.create_task(runs.answers([i])) for i in range(5)]
        await asyncio.sleep(0.05)  # four run
        tasks += [asyncio.create_task(runs.answers([i])) for i in range(5)]
        await asyncio.sleep(0.05)
        model.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(ask())
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(refused) > 0
    assert "max_queue_items 3" in str(refused[0])
    assert all(isinstance(answer, list) for answer in answers if answer not in refused)


def test_a_client_that_left_costs_nothing():
    model = Model(seconds=2 * SHORT)
    left = threading.Event()

    async def ask():
        runs = batcher(model)
        runs.learn([0])
        model.open.clear()
        first = asyncio.create_task(runs.answers([0]))
        await asyncio.sleep(0.05)
        gone = [asyncio.create_task(runs.answers([i], gone=left.is_set)) for i in range(1, 11)]
        stays = asyncio.create_task(runs.answers([99]))
        await asyncio.sleep(0.05)
        left.set()
        model.open.set()
        done = await asyncio.gather(first, stays, *gone, return_exceptions=True)
        return done, runs._metrics.cancelled.value

    (first, stays, *gone), counted = asyncio.run(ask())
    assert (first, stays) == ([0], [198])
    assert all(isinstance(error, ClientLeft) for error in gone)
    assert counted == 10
    assert model.batches[1:] == [[0], [99]]


def test_threads_with_short_batches_do_not_wait_for_the_event_loop():
    model = Model()
    model.open.clear()

    async def ask():
        runs = batcher(model)
        tasks = [asyncio.create_task(runs.answers([i])) for i in range(14)]
        await asyncio.sleep(0.05)
        prepared = 14 - runs._queue.items
        model.open.set()
        await asyncio.gather(*tasks)
        return prepared

    assert asyncio.run(ask()) == 8  # four run, and four are next


def test_what_waits_past_its_deadline_is_not_computed():
    model = Model()
    model.open.clear()

    async def ask():
        runs = batcher(model)
        first = asyncio.create_task(runs.answers([0]))
        await asyncio.sleep(0.05)
        late = asyncio.create_task(runs.answers([1, 2, 3]))
        await asyncio.sleep(0.05)
        late.cancel()  # as the middleware does at the deadline
        await asyncio.sleep(0.05)
        waiting = runs._queue.items
        model.open.set()
        return await first, waiting

    assert asyncio.run(ask()) == ([0], 0)
    assert model.batches == [[0]]


def test_a_model_that_raises_fails_the_requests_of_the_batch_and_no_other():
    model = Model()
    runs = batcher(model)

    async def ask():
        model.error = ValueError("no memory")
        with pytest.raises(ValueError, match="no memory"):
            await runs.answers([1])
        model.error = None
        return await runs.answers([2])

    assert asyncio.run(ask()) == [4]
