"""BentoML's `traffic.timeout`, without what it leaves behind.

BentoML 1.4.39 never cancels the timer of a request, so that what belongs to the request stays in memory for as long as
the timeout. Where many requests are answered in a second, that is most of the memory of the process.
"""

from __future__ import annotations

from bentoml._internal.server.http import traffic
from starlette.responses import JSONResponse

from quantbento.serving.asgi import App, Receive, Scope, Send
from quantbento.serving.time_limit import begins_within

LATER = 0.1  # seconds, so that this project's own deadline, which says more, comes first


class TimeoutMiddleware:
    """As BentoML's: 504 where a response has not begun after `timeout` seconds, and a moment."""

    def __init__(self, app: App, timeout: float) -> None:
        self.app, self.timeout = app, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if not await begins_within(self.timeout + LATER, self.app, scope, receive, send):
            said = {"error": f"Not able to process the request in {self.timeout} seconds"}
            await JSONResponse(said, status_code=504)(scope, receive, send)


def install() -> None:
    """Puts it in the place of BentoML's, for the services of this process."""
    traffic.TimeoutMiddleware = TimeoutMiddleware  # type: ignore[assignment, misc]
