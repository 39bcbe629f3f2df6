"""Refuses bodies that are too large, or of a kind that no endpoint takes."""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import ClientDisconnect, Request

from quantbento.serving.asgi import App, Message, Receive, Scope, Send
from quantbento.serving.errors import BodyTooLarge, ClientLeft
from quantbento.serving.problems import respond

JSON = "application/json"


async def body_of(scope: Scope, receive: Receive) -> bytes:
    """A request's whole body, for an application that answers errors itself.

    Raises:
        BodyTooLarge: 413, raised by the guard.
        ClientLeft: 499, in the middle of it.
    """
    try:
        return await Request(scope, receive).body()
    except ClientDisconnect:
        raise ClientLeft from None


class RequestGuard:
    """ASGI middleware: refuses bodies that are too large with 413 before they are read into memory, and those of
    another content type, or compressed, with 415: BentoML would read them as JSON."""

    def __init__(self, app: App, max_body_bytes: int, takes: Collection[str] = (JSON,), instead: str = "") -> None:
        """`takes` are the content types, `instead` says what to send in place of another."""
        self.app, self.max_body_bytes, self.takes, self.instead = app, max_body_bytes, takes, instead

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_body_bytes:
            await respond(scope, send, 413, self._too_large())
            return
        media_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if media_type and media_type not in self.takes:
            await respond(scope, send, 415, f"{media_type} is not taken: send {self.instead}")
            return
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        if encoding != "identity":
            told = f"Content-Encoding {encoding} is not taken: send the body as it is"
            await respond(scope, send, 415, told, [(b"accept-encoding", b"identity")])
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                raise BodyTooLarge(self._too_large())
            return message

        await self.app(scope, counted, send)

    def _too_large(self) -> str:
        return f"the request body is larger than {self.max_body_bytes} bytes (max_body_bytes)"
