"""What is known of the request that is being answered, beside what BentoML passes to an endpoint."""

from __future__ import annotations

import math
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from quantbento.serving.asgi import App, Message, Receive, Scope, Send

REQUEST_ID, MODEL = b"x-request-id", b"x-model"
_ID = re.compile(rb"[!-~]{1,128}")  # visible ASCII, so that it can stand in a log line and in a header
_current: ContextVar[RequestState | None] = ContextVar("request_state", default=None)


@dataclass(slots=True)
class RequestState:
    """
    Attributes:
        id: of the client's, or a new one.
        receive: of the connection.
        scope: of the request.
        deadline: in the event loop's time.
        version: the `LiveModel` that answers it.
        inputs: as the client sent them, where a shadow gets them too.
        key_name: of the API key that the client sent; never the key.
    """

    id: str
    receive: Receive
    scope: Scope
    deadline: float = math.inf
    version: Any = None
    inputs: Any = None
    key_name: str | None = None

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
    """ASGI middleware: gives each request a state, and its answer the request's id as `X-Request-ID` and the exact tag
    of the model that answered as `X-Model`."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
        name = given if _ID.fullmatch(given) else os.urandom(8).hex().encode()
        state = RequestState(name.decode(), receive, scope)
        _current.set(state)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, name)]
                if state.version is not None:
                    message["headers"].append((MODEL, state.version.tag.encode()))
            await send(message)

        await self.app(scope, receive, named)
