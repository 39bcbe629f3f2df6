"""`GET /metrics`: what Prometheus is told, of every process of the service."""

from __future__ import annotations

import anyio.to_thread
from bentoml._internal.configuration.containers import BentoMLContainer
from starlette.responses import Response

from quantbento.serving.asgi import App, Receive, Scope, Send

PATH = "/metrics"


class MetricsPage:
    """ASGI middleware, behind the one that asks for API keys."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self.app(scope, receive, send)
            return
        client = BentoMLContainer.metrics_client.get()
        text = await anyio.to_thread.run_sync(client.generate_latest)
        await Response(text, media_type=client.CONTENT_TYPE_LATEST)(scope, receive, send)
