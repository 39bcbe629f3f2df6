"""Batches are made of what is due, in an order that lets nobody wait for a long request, and starves none."""

from __future__ import annotations

import asyncio

import pytest

from quantbento.serving.batching.queue import LEAST_SHARE, Call, FairQueue


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def put(loop):
    """Adds a request of items of these sizes to a queue; an item is its request's name and its place."""

    def put(queue: FairQueue, name: str, *sizes: int) -> Call:
        items = [f"{name}{place}" for place in range(len(sizes))]
        call = Call(items, sizes, loop.create_future(), lambda: False)
        queue.put(call)
        return call

    return put


def taken(queue: FairQueue, most: int = 8, budget: int = 10_000) -> list[str]:
    return [entry.item for entry in queue.take(most, budget)]


def test_items_come_in_order_and_are_counted(put):
    queue = FairQueue()
    put(queue, "a", 5, 5, 5)
    assert (queue.items, queue.size) == (3, 15)
    assert taken(queue, most=2) == ["a0", "a1"]
    assert (queue.items, queue.size) == (1, 5)
    assert taken(queue) == ["a2"]
    assert (queue.items, queue.size, taken(queue)) == (0, 0, [])


def test_a_batch_is_of_about_one_length(put):
    queue = FairQueue()
    for name, size in zip("abcdef", (10, 300, 12, 310, 11, 305), strict=True):
        put(queue, name, size)
    assert sorted(taken(queue)) == ["a0", "c0", "e0"]
    assert sorted(taken(queue)) == ["b0", "d0", "f0"]


def test_the_budget_counts_the_padding_and_one_item_may_exceed_it(put):
    queue = FairQueue()
    put(queue, "a", 30, 40, 40, 40)
    assert len(taken(queue, budget=120)) == 3
    put(queue, "long", 500)
    assert [len(taken(queue, budget=120)) for _ in range(2)] == [1, 1]


def test_a_short_request_does_not_wait_for_all_of_a_long_one(put):
    queue = FairQueue()
    put(queue, "long", *[200] * 64)
    assert taken(queue) == [f"long{place}" for place in range(8)]
    for name in "abc":
        put(queue, name, 10)
    batches = [sorted(taken(queue)) for _ in range(3)]
    assert ["a0", "b0", "c0"] in batches[:2]
    assert batches[2][0].startswith("long")


def test_a_long_request_gets_its_share_however_many_short_ones_come(put):
    queue = FairQueue()
    put(queue, "long", *[100] * 40)
    turns = 0
    served = {"long": 0, "s": 0}
    while served["long"] < 2000:
        while queue.items < 200:
            put(queue, "s", 10)
        for entry in queue.take(8, 10_000):
            served[entry.item.rstrip("0123456789")] += entry.size
        turns += 1
        assert turns < 10_000
    share = served["long"] / sum(served.values())
    assert share == pytest.approx(1 / LEAST_SHARE, abs=0.1)


def test_what_nobody_waits_for_is_forgotten(put):
    queue = FairQueue()
    one, two = put(queue, "a", 5, 5), put(queue, "b", 5)
    queue.drop(one)
    assert (queue.items, queue.size) == (1, 5)
    assert taken(queue) == ["b0"]
    queue.drop(two)
    assert (queue.items, queue.size) == (0, 0)


def test_what_is_ahead_of_a_request(put):
    queue = FairQueue()
    assert queue.ahead(10) == (0, 0)
    for name in "abcd":
        put(queue, name, 10)
    assert queue.ahead(10) == (4, 40)
    put(queue, "long", *[100] * 10)
    assert queue.ahead(10)[0] == 5  # of the long request only the first item
    assert queue.ahead(10_000)[0] == 14


def test_a_request_is_answered_once_all_of_its_items_are(put):
    call = put(FairQueue(), "a", 1, 1)
    call.answer(1, "second")
    assert not call.answered.done()
    call.answer(0, "first")
    assert call.answered.result() == ["first", "second"]
    call.fail(RuntimeError())  # too late
    assert call.answered.result() == ["first", "second"]
