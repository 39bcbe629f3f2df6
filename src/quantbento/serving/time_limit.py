"""An application that has to begin its response in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quantbento.serving.asgi import App, Message, Receive, Scope, Send

LATE = 10.0  # seconds: longer than the cancellation takes, which is under way


async def begins_within(
    seconds: float,
    app: App,
    scope: Scope,
    receive: Receive,
    send: Send,
    told: Callable[[float | None], None] = lambda deadline: None,
) -> bool:
    """Runs an application, and cancels it where its response has not begun after so many seconds. False where it was.

    Args:
        seconds: for the response to begin; then it may take any time.
        told: gets the deadline, in the event loop's time.
    """
    begun = False
    try:
        async with asyncio.timeout(seconds) as limit:
            told(limit.when())

            async def sending(message: Message) -> None:
                nonlocal begun
                if not begun:
                    if limit.expired():  # while a task of the application's was about to begin
                        await asyncio.sleep(LATE)
                    begun = True
                    limit.reschedule(None)
                await send(message)

            await app(scope, receive, sending)
    except TimeoutError:
        if begun or not limit.expired():
            raise
        return False
    return True
