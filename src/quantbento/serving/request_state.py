"""What is known of the request that is being answered, beside what BentoML passes to an endpoint."""

from __future__ import annotations

import math
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass

from quantbento.serving.asgi import App, Message, Receive, Scope, Send

REQUEST_ID = b"x-request-id"
_ID = re.compile(rb"[!-~]{1,128}")  # visible ASCII, so that it can stand in a log line and in a header
_current: ContextVar[RequestState | None] = ContextVar("request_state", default=None)


@dataclass(slots=True)
class RequestState:
    """
    Attributes:
        id: of the client's, or a new one.
        receive: of the connection.
        deadline: in the event loop's time.
    """

    id: str
    receive: Receive
    deadline: float = math.inf

    def gone(self) -> bool:
        """Whether the client has left. Only of a request whose body was read."""
        waiting = self.receive()
        try:
            waiting.send(None)  # type: ignore[attr-defined]  # as far as it gets without waiting
        except StopIteration as message:
            return message.value["type"] == "http.disconnect"
        waiting.close()  # type: ignore[attr-defined]
        return False


def current_request() -> RequestState | None:
    """The state of the request that this code answers; None outside of one."""
    return _current.get()


class RequestStates:
    """ASGI middleware: gives each request a state, and its answer the request's id as `X-Request-ID`."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
        name = given if _ID.fullmatch(given) else os.urandom(8).hex().encode()
        _current.set(RequestState(name.decode(), receive))

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, name)]
            await send(message)

        await self.app(scope, receive, named)
