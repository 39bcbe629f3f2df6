"""Errors in OpenAI's shape, without which its clients show a status code alone."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

from quantbento.serving.asgi import App, Message, Receive, Scope, Send


def openai_error(status: int, message: str, param: str | None = None) -> JSONResponse:
    """An error as a response; `param` is the field of the request that is wrong."""
    return JSONResponse(_body(status, message, param), status_code=status)


class OpenAIErrors:
    """ASGI middleware: under /v1/, what BentoML says of an error in OpenAI's shape."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def rewritten(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    await _send_error(send, start, body)

        await self.app(scope, receive, rewritten)


def _body(status: int, message: str, param: str | None) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


async def _send_error(send: Send, start: Message, body: bytes) -> None:
    rendered = body if _is_openais(body) else json.dumps(_body(start["status"], *_explained(body))).encode()
    kept = [(k, v) for k, v in start["headers"] if k.lower() not in (b"content-length", b"content-type")]
    headers = [*kept, (b"content-type", b"application/json"), (b"content-length", str(len(rendered)).encode())]
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": rendered})


def _is_openais(body: bytes) -> bool:
    """Whether whoever answered knew the shape."""
    try:
        return isinstance(json.loads(body)["error"]["message"], str)
    except (ValueError, LookupError, TypeError):
        return False


def _explained(body: bytes) -> tuple[str, str | None]:
    """The message and the field of an error as BentoML writes it."""
    try:
        given = json.loads(body)
    except ValueError:
        return body.decode(errors="replace"), None
    given = given[0] if isinstance(given, list) and given else given
    if not isinstance(given, dict):
        return str(given), None
    if details := given.get("detail"):
        first = details[0]
        return "; ".join(d["msg"] for d in details), ".".join(map(str, first["loc"])) or None
    return str(given.get("error", given)), None
