"""How many requests may be under way at once."""

from __future__ import annotations

from quantbento.serving.asgi import PROBES, App, Receive, Scope, Send
from quantbento.serving.problems import respond

ALWAYS = PROBES | {"/metrics", "/info"}


class Concurrency:
    """ASGI middleware: refuses what is too much with 429, at once; probes always pass."""

    def __init__(self, app: App, limit: int) -> None:
        self.app, self.limit, self._under_way = app, limit, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self.app(scope, receive, send)
            return
        if self._under_way >= self.limit:
            told = f"{self._under_way} requests are under way, and no more are taken (max_concurrency)"
            await respond(scope, send, 429, told)
            return
        self._under_way += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._under_way -= 1
