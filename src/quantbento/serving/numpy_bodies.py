"""NumPy files as requests and answers of an endpoint that takes arrays. An image in JSON is several times its size.

What is sent is read here, and its items take the way of every JSON request: BentoML sees a request for as many
placeholders, in whose place the endpoint's check puts the items. So limits, checks and batches are the same.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from bentoml.exceptions import BentoMLException

from quantbento.core.errors import InvalidInput
from quantbento.serving.asgi import App, Message, Receive, Scope, Send
from quantbento.serving.numpy_files import items_of

if TYPE_CHECKING:
    from quantbento.serving.served import Served

MEDIA_TYPES = ("application/octet-stream", "application/x-npy", "application/x-npz")

# Of the request that is being answered: what was sent in place of JSON, or why it cannot be used, and whether NumPy is
# wanted back.
_sent: ContextVar[Sent | None] = ContextVar("numpy_items", default=None)
_wanted: ContextVar[bool] = ContextVar("numpy_answers", default=False)


class Sent:
    """What a request's file holds, or why it cannot be used; until the request is answered. BentoML's batches keep the
    context of the first request for good, and would keep its items."""

    def __init__(self, items: list[Any] | Exception) -> None:
        self.items: list[Any] | Exception = items


def sent_items(inputs: list[Any]) -> list[Any]:
    """The items of a request: those of its NumPy file, or else `inputs`, which came in JSON.

    Raises:
        InvalidInput: the file cannot be used.
        BentoMLException: the body was too large.
    """
    if (sent := _sent.get()) is None:
        return inputs
    if isinstance(sent.items, Exception):
        raise sent.items
    return sent.items


def wants_numpy() -> bool:
    """Whether the client of the request asked for a NumPy file."""
    return _wanted.get()


class NumpyBodies:
    """ASGI middleware, behind the one that limits bodies."""

    def __init__(self, app: App, served: Served, route: str, field: str) -> None:
        """`route` is the endpoint, `field` the name of its list of inputs."""
        self.app, self.served, self.route, self.field = app, served, route, field

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != self.route:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        accept, content_type = (
            headers.get(name, b"").decode("latin-1").lower() for name in (b"accept", b"content-type")
        )
        accepted = [part.partition(";")[0].strip() for part in accept.split(",")]
        wanted = any(kind in accepted for kind in MEDIA_TYPES) and "application/json" not in accepted
        sent_type = content_type.partition(";")[0].strip()
        _wanted.set(wanted)
        send = _marked(send) if wanted else send
        if sent_type not in MEDIA_TYPES:
            await self.app(scope, receive, send)
            return
        sent = Sent(await self._items(receive))
        _sent.set(sent)
        scope, receive = self._as_json(scope, len(sent.items) if isinstance(sent.items, list) else 1, receive)
        try:
            await self.app(scope, receive, send)
        finally:
            sent.items = []

    async def _items(self, receive: Receive) -> list[Any] | Exception:
        settings: Any = self.served.settings
        try:
            return items_of(await _body(receive), settings.max_items, settings.max_body_bytes)
        except (InvalidInput, BentoMLException) as error:
            return error

    def _as_json(self, scope: Scope, count: int, receive: Receive) -> tuple[Scope, Receive]:
        """The request with placeholders for its body."""
        body = json.dumps({self.field: [0] * count}).encode()
        changed = {b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
        kept = [header for header in scope["headers"] if header[0] not in (*changed, b"transfer-encoding")]
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return messages.pop() if messages else await receive()

        return {**scope, "headers": [*kept, *changed.items()]}, replayed


def numpy_answers_operation(route: str) -> dict[str, Any]:
    """What an OpenAPI document says of an endpoint that takes JSON only."""
    file = {"schema": {"type": "string", "format": "binary"}}
    told = "With `Accept: application/octet-stream` it answers with a .npy file, one row per input."
    responses = {"200": {"content": {MEDIA_TYPES[0]: file}}}
    return {"paths": {route: {"post": {"description": told, "responses": responses}}}}


def numpy_operation(route: str) -> dict[str, Any]:
    """What an OpenAPI document says of it."""
    file = {"schema": {"type": "string", "format": "binary"}}
    return {
        "paths": {
            route: {
                "post": {
                    "description": "Also takes NumPy files, as application/octet-stream: a .npy with the items along "
                    "its first axis, or a .npz with such an array for each input. "
                    "With `Accept: application/octet-stream` it answers with one, a .npz where the model has several "
                    "outputs.",
                    "requestBody": {"content": {MEDIA_TYPES[0]: file}},
                    "responses": {"200": {"content": {MEDIA_TYPES[0]: file}}},
                }
            }
        }
    }


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("the client is gone")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _marked(send: Send) -> Send:
    """Answers carry the type that was asked for; errors stay JSON."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            kept = [header for header in message["headers"] if header[0].lower() != b"content-type"]
            message = {**message, "headers": [*kept, (b"content-type", MEDIA_TYPES[0].encode())]}
        await send(message)

    return sending
