"""OpenAI's shape of an embeddings request and response."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from bentoml.exceptions import InvalidArgument

from quantbento.serving.errors import App, Message, Receive, Scope, Send


def one_or_many(value: Any) -> Any:
    """A lone text as a list of one: clients may send either."""
    return [value] if isinstance(value, str) else value


def check_dimensions(wanted: int | None, vectors: Sequence[Any]) -> None:
    """Shorter vectors than the model's are not to be had; to give others in silence would break the client's index.

    Raises:
        InvalidArgument: 400, with the model's number.
    """
    if wanted is not None and wanted != len(vectors[0]):
        raise InvalidArgument(f"dimensions {wanted}: this model's embeddings have {len(vectors[0])}; leave it out")


def embeddings_response(vectors: Sequence[Any], encoding_format: str, model: str, tokens: int) -> dict[str, Any]:
    """The body of `POST /v1/embeddings`; `base64` is what the official clients ask for (little-endian float32)."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": _encoded(vector, encoding_format)}
            for i, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _encoded(vector: Any, encoding_format: str) -> list[float] | str:
    if encoding_format == "float":
        return list(vector)
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


class OpenAIErrors:
    """ASGI middleware: under /v1/, errors in OpenAI's shape, without which its clients show a status code alone."""

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


async def _send_error(send: Send, start: Message, body: bytes) -> None:
    kind = "invalid_request_error" if start["status"] < 500 else "server_error"
    message, parameter = _explained(body)
    error = {"message": message, "type": kind, "param": parameter, "code": None}
    rendered = body if _is_openais(body) else json.dumps({"error": error}).encode()
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
    """The message and the parameter of an error as BentoML writes it."""
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
