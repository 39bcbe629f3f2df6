"""A response that is written as its parts become known."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from quantbento.serving.asgi import Receive, Scope, Send
from quantbento.serving.generation.openai_texts import DONE
from quantbento.serving.openai_errors import openai_error


class Response:
    """One body, a stream of events, or an error: which of them is open until it has started."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asgi = scope, receive, send
        self._send, self.started = send, False

    async def json(self, body: dict[str, Any]) -> None:
        """The whole answer."""
        self.started = True
        await JSONResponse(body)(*self._asgi)

    async def piece(self, events: bytes) -> None:
        """The next server-sent events."""
        if not self.started:
            self.started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self) -> None:
        """The end of the stream."""
        await self._send({"type": "http.response.body", "body": DONE})

    async def error(self, status: int, message: str, field: str | None = None) -> None:
        """An error with its status, or as the last event of a stream that has begun."""
        response = openai_error(status, message, field)
        if self.started:
            await self.piece(b"data: " + bytes(response.body) + b"\n\n")
            await self.end()
        else:
            self.started = True
            await response(*self._asgi)
