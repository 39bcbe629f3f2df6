"""A limit on the size of request bodies, and advice for clients that were turned away."""

from __future__ import annotations

import json

from quantbento.serving.asgi import App, Message, Receive, Scope, Send
from quantbento.serving.errors import BodyTooLarge

RETRY_AFTER_SECONDS = b"1"


class RequestGuard:
    """ASGI middleware: refuses bodies that are too large with 413 before they are read into memory, and tells
    clients that were turned away (429, 503) when to come back."""

    def __init__(self, app: App, max_body_bytes: int) -> None:
        self.app, self.max_body_bytes = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self.max_body_bytes:
            await _too_large(send, self.max_body_bytes)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                raise BodyTooLarge(_too_large_text(self.max_body_bytes))
            return message

        async def advised(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (429, 503):
                message["headers"] = [*message.get("headers", ()), (b"retry-after", RETRY_AFTER_SECONDS)]
            await send(message)

        await self.app(scope, counted, advised)


def _too_large_text(limit: int) -> str:
    return f"the request body is larger than {limit} bytes (max_body_bytes)"


async def _too_large(send: Send, limit: int) -> None:
    body = json.dumps({"error": _too_large_text(limit)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
