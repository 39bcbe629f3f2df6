"""How long a request may take: as long as the service's setting allows, or less where its client says so.

A client that gives up tells nobody, so it says beforehand how long it will wait: in `X-Request-Timeout`, in seconds, or
in the headers by which Envoy and OpenAI's clients say it. What would be late is refused or not computed.
"""

from __future__ import annotations

import math

from quantbento.serving.asgi import App, Receive, Scope, Send
from quantbento.serving.problems import respond
from quantbento.serving.request_state import current_request
from quantbento.serving.time_limit import begins_within

# Headers, with what makes seconds of their numbers.
SAID_IN = {b"x-request-timeout": 1.0, b"x-envoy-expected-rq-timeout-ms": 0.001, b"x-stainless-read-timeout": 1.0}
LEAST = 0.001


class Deadlines:
    """ASGI middleware: a request that takes longer is answered with 504, and its endpoint is cancelled. A response that
    has begun is not."""

    def __init__(self, app: App, seconds: float) -> None:
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seconds = self._allowed(scope)
        state = current_request()

        def told(deadline: float | None) -> None:
            if state is not None:
                state.deadline = deadline or math.inf

        if not await begins_within(seconds, self.app, scope, receive, send, told):
            await respond(scope, send, 504, f"not answered in {seconds:g} seconds")

    def _allowed(self, scope: Scope) -> float:
        said = [self.seconds]
        for name, value in scope["headers"]:
            if name in SAID_IN:
                try:
                    seconds = float(value) * SAID_IN[name]
                except ValueError:
                    continue  # a client without a limit says None
                said += [max(seconds, LEAST)] * math.isfinite(seconds)
        return min(said)
