"""Refuses bodies that are too large or forms, and gives advice to clients that were turned away."""

from __future__ import annotations

import json

from quantbento.serving.asgi import App, Message, Receive, Scope, Send
from quantbento.serving.errors import BodyTooLarge

RETRY_AFTER_SECONDS = b"1"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")  # curl's types, where it is told none


class RequestGuard:
    """ASGI middleware: refuses bodies that are too large with 413 before they are read into memory, and tells
    clients that were turned away (429, 503) when to come back.

    `instead_of_forms` is what to send in place of a form, which is refused with 415: BentoML would fail on it. None
    where forms are taken.
    """

    def __init__(self, app: App, max_body_bytes: int, instead_of_forms: str | None = None) -> None:
        self.app, self.max_body_bytes, self.instead_of_forms = app, max_body_bytes, instead_of_forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_body_bytes:
            await _refuse(send, 413, _too_large_text(self.max_body_bytes))
            return
        media_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if self.instead_of_forms and media_type in FORMS:
            await _refuse(send, 415, f"{media_type} is not taken: send {self.instead_of_forms}")
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


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
