"""One page for several services: `/a/` and `/b/` are passed on to them, so that the browser asks one address only and
no service has to let other origins in."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from quantbento.serving.playground.pages import playground

LETTERS = "ab"
METHODS = ["GET", "POST"]
# Of one connection, not of what goes over it (RFC 9110, 7.6.1); httpx and the server write their own.
OWN_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "host", "date", "server", "upgrade"}


def side_by_side(
    urls: Sequence[str], needs_key: bool = False, transport: httpx.AsyncBaseTransport | None = None
) -> Starlette:
    """The application: the page at `/`, the services below `/a/` and `/b/`.

    It answers to 127.0.0.1 and localhost only: another name that a site gives to this machine is refused.

    Args:
        urls: of one service or two.
        needs_key: whether they want an API key.
        transport: in place of the network, for tests.
    """
    # A service says itself when something takes too long.
    client = httpx.AsyncClient(transport=transport, timeout=None, limits=httpx.Limits(max_connections=64))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    routes = playground([f"./{letter}/" for letter, _ in zip(LETTERS, urls, strict=False)], needs_key)
    for letter, url in zip(LETTERS, urls, strict=False):
        routes.append(Route(f"/{letter}/{{path:path}}", _passing(client, url), methods=METHODS))
    own_names = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[own_names], lifespan=lifespan)


def _passing(client: httpx.AsyncClient, url: str) -> Any:
    async def passed(request: Request) -> Response:
        headers = [(name, value) for name, value in request.headers.raw if name.decode().lower() not in OWN_CONNECTION]
        target = httpx.URL(url, path=f"/{request.path_params['path']}", query=request.url.query.encode())
        asked = client.build_request(request.method, target, headers=headers, content=await request.body())
        try:
            answer = await client.send(asked, stream=True)
        except httpx.TransportError as error:
            return Response(f"the service at {url} does not answer: {error or type(error).__name__}", 502)
        response = StreamingResponse(_pieces(answer), answer.status_code)
        response.raw_headers = [
            (n.lower(), v) for n, v in answer.headers.raw if n.decode().lower() not in OWN_CONNECTION
        ]
        return response

    return passed


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The answer as it comes. Where the browser leaves before its end, the service learns of it."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()
