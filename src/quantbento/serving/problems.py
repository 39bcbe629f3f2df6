"""Errors as clients read them: `application/problem+json` (RFC 9457), and under /v1/ in OpenAI's shape.

A problem's `detail` says what is wrong in a sentence. Where fields of the request are, `errors` lists them as pydantic
and FastAPI do, with `loc` and `msg`; `request_id` is the answer's `X-Request-ID`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

from bentoml.exceptions import BentoMLException
from pydantic import ValidationError

from quantbento.serving.asgi import TURNED_AWAY, App, Message, Receive, Scope, Send
from quantbento.serving.openai_errors import is_openais, openai_body
from quantbento.serving.request_state import current_request

MEDIA_TYPE = b"application/problem+json"
OPENAIS = "/v1/"
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Problem:
    """
    Attributes:
        detail: what is wrong, and what helps.
        errors: of fields of the request, each with its `loc` and `msg`.
        retry_after: in so many seconds the client may come back.
    """

    status: int
    detail: str
    errors: list[dict[str, Any]] = field(default_factory=list)

    retry_after: float | None = None

    @classmethod
    def of(cls, error: BentoMLException) -> Self:
        """An error that says its status."""
        return cls(int(error.error_code), str(error), retry_after=getattr(error, "retry_after", None))

    def body(self, path: str) -> bytes:
        """As the client of that path reads it."""
        if path.startswith(OPENAIS):
            place = ".".join(map(str, self.errors[0]["loc"])) if self.errors else ""
            return json.dumps(openai_body(self.status, self.detail, place or None)).encode()
        said: dict[str, Any] = {"type": "about:blank", "title": _title(self.status), "status": self.status}
        said |= {"detail": self.detail} | ({"errors": self.errors} if self.errors else {})
        if (state := current_request()) is not None:
            said["request_id"] = state.id
        return json.dumps(said).encode()


async def respond(scope: Scope, send: Send, status: int, detail: str, headers: Headers = ()) -> None:
    """Answers a request with an error."""
    await send_problem(scope, send, Problem(status, detail), headers)


class Problems:
    """ASGI middleware: errors of BentoML and Starlette in these shapes."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def rewritten(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await _rewrite(scope, send, start, b"".join(parts))

        await self.app(scope, receive, rewritten)


async def _rewrite(scope: Scope, send: Send, start: Message, body: bytes) -> None:
    headers = list(start["headers"])
    if MEDIA_TYPE in dict(headers).get(b"content-type", b"") or is_openais(body):
        if start["status"] in TURNED_AWAY and b"retry-after" not in dict(headers):
            headers.append(retry_after(1))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    kept = [(k, v) for k, v in headers if k.lower() not in (b"content-length", b"content-type")]
    await send_problem(scope, send, _read(start["status"], body), kept)


async def send_problem(scope: Scope, send: Send, problem: Problem, headers: Headers = ()) -> None:
    """Answers a request with an error, and who is turned away with when to come back."""
    body = problem.body(scope["path"])
    kind = b"application/json" if scope["path"].startswith(OPENAIS) else MEDIA_TYPE
    own = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if problem.status in TURNED_AWAY:
        own.append(retry_after(1 if problem.retry_after is None else problem.retry_after))
    await send({"type": "http.response.start", "status": problem.status, "headers": [*headers, *own]})
    await send({"type": "http.response.body", "body": body})


def of_validation(error: ValidationError) -> Problem:
    """Fields of a request that are wrong, each with its place."""
    return _of_fields(400, error.errors(include_context=False, include_input=False, include_url=False))


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """The header that says when to come back, in whole seconds."""
    return b"retry-after", str(max(1, math.ceil(seconds))).encode()


def _title(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Client Closed Request"


def _of_fields(status: int, details: Sequence[Any]) -> Problem:
    errors = [{"loc": d["loc"], "msg": d["msg"].removeprefix("Value error, "), "type": d["type"]} for d in details]
    said = [": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in errors]
    return Problem(status, "; ".join(said), errors)


def _read(status: int, body: bytes) -> Problem:
    """What BentoML or Starlette says of an error."""
    try:
        given = json.loads(body)
    except ValueError:
        return Problem(status, body.decode(errors="replace").strip() or _title(status))
    given = given[0] if isinstance(given, list) and given else given
    if not isinstance(given, dict):
        return Problem(status, str(given))
    if isinstance(details := given.get("detail"), list) and details:
        return _of_fields(status, details)
    return Problem(status, str(given.get("error", given.get("detail", given))))
