"""A response begins in time, or its application is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from quantbento.serving.time_limit import begins_within


async def nothing(message=None):
    return {"type": "http.request"}


def run(app, seconds: float, told=lambda deadline: None) -> bool:
    return asyncio.run(begins_within(seconds, app, {}, nothing, nothing, told))


def test_what_begins_in_time_may_take_longer():
    async def app(scope, receive, send):
        await send({"type": "http.response.start"})
        await asyncio.sleep(0.1)

    deadlines = []
    assert run(app, 0.05, deadlines.append)
    assert deadlines[0] > 0


def test_what_does_not_is_cancelled():
    ended = []

    async def app(scope, receive, send):
        try:
            await asyncio.sleep(5)
        finally:
            ended.append(True)

    assert not run(app, 0.05)
    assert ended


def test_a_response_that_begins_at_the_deadline_is_cancelled_too():
    """In a task of its own, which is not what is cancelled first."""

    async def app(scope, receive, send):
        async def later():
            await asyncio.sleep(0.05)
            await send({"type": "http.response.start"})

        async with asyncio.TaskGroup() as group:
            group.create_task(later())

    assert run(app, 0.05) in (True, False)


def test_its_own_timeouts_are_not_the_deadline():
    async def app(scope, receive, send):
        raise TimeoutError("of a database")

    with pytest.raises(TimeoutError, match="of a database"):
        run(app, 5)
