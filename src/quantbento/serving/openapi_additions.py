"""What BentoML's OpenAPI document does not know of endpoints, put into it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from quantbento.serving.asgi import App, Message, Receive, Scope, Send

PATH = "/docs.json"


class OpenAPIAdditions:
    """ASGI middleware: merges each of `additions` in turn into the document that is answered at /docs.json. Texts are
    put behind those that are there, None takes away what is there (as in RFC 7396), anything else is replaced."""

    def __init__(self, app: App, additions: Sequence[dict[str, Any]]) -> None:
        self.app, self.additions = app, additions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self.app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def held(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._send(start, b"".join(parts), send)

        await self.app(scope, receive, held)

    async def _send(self, start: Message, body: bytes, send: Send) -> None:
        if start["status"] == 200:
            body = json.dumps(reduce(_merged, self.additions, json.loads(body))).encode()
        kept = [header for header in start["headers"] if header[0].lower() != b"content-length"]
        await send({**start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


def request_examples(route: str, examples: Mapping[str, Any]) -> dict[str, Any]:
    """The additions for whole requests by name, of which Swagger lets one choose; they go before examples of fields."""
    content = {"application/json": {"examples": {name: {"value": body} for name, body in examples.items()}}}
    return {"paths": {route: {"post": {"requestBody": {"content": content}}}}}


def _merged(document: Any, additions: Any) -> Any:
    if isinstance(document, dict) and isinstance(additions, dict):
        changed = {key: _merged(document.get(key), value) for key, value in additions.items()}
        return {key: value for key, value in (document | changed).items() if additions.get(key, key) is not None}
    if isinstance(document, str) and isinstance(additions, str) and document:
        return f"{document}\n\n{additions}"
    return additions
