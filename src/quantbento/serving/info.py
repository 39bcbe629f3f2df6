"""`GET /info`: which model answers, by its digest, so that clients and rollouts can tell versions apart."""

from __future__ import annotations

from starlette.responses import JSONResponse

from quantbento.core.errors import QuantbentoError
from quantbento.serving.asgi import App, Receive, Scope, Send
from quantbento.serving.problems import respond
from quantbento.serving.served import Served

PATH = "/info"


class ModelInfo:
    """ASGI middleware that answers `GET /info`, with 503 where the model is missing."""

    def __init__(self, app: App, served: Served) -> None:
        self.app, self._served = app, served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        try:
            response = JSONResponse(self._served.info())
        except QuantbentoError as error:
            await respond(scope, send, 503, str(error))
        else:
            await response(scope, receive, send)
