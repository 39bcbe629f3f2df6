"""An ASGI application as middleware sees it: its types, and the paths and statuses that several pieces of it know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBES = frozenset({"/livez", "/readyz", "/healthz"})
CLIENT_LEFT = 499  # nginx's status; HTTP has none
TURNED_AWAY = (429, 503)  # the statuses of who may come back later


class StatusNoted:
    """A `send` that knows the status of the response; `status` is None until it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
