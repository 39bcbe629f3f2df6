"""What Prometheus is told of requests: BentoML's metrics of a service, by its names.

BentoML's own have a label with the path as it came, so whoever asks for many paths fills the memory. Here a path that
the service does not have is `other`.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from bentoml._internal.context import server_context

from quantbento.serving.asgi import CLIENT_LEFT, PROBES, App, Receive, Scope, Send, StatusNoted
from quantbento.serving.metrics_page import PATH
from quantbento.serving.playground.pages import SWAGGER
from quantbento.serving.process_metrics import ProcessMetrics
from quantbento.serving.served import Served

OTHER = "other"
SYSTEM = PROBES | {"/", "/docs.json", "/schema.json", "/info", "/slo"}
STATIC = "/static_content/"
NAMESPACE = "bentoml_service"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class TrafficMetrics:
    """ASGI middleware, in front of all others of this project."""

    def __init__(self, app: App, paths: Collection[str], served: Served | None = None) -> None:
        """`paths` are those of the service's endpoints, `served` is its model."""
        self.app, self.paths, self.served = app, {*paths, *SYSTEM}, served
        self._metrics: _Metrics | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        metrics = self._metrics = self._metrics or _Metrics(self.served)  # only in the process that serves
        if path == PATH:
            metrics.processes.refresh()
            await self.app(scope, receive, send)
            return
        if path not in self.paths:
            path = STATIC if path.startswith(STATIC) or path == SWAGGER else OTHER
        under_way = metrics.under_way(path)
        under_way.inc()
        start, noted = time.perf_counter(), StatusNoted(send)
        try:
            await self.app(scope, receive, noted)
        finally:
            under_way.dec()
            metrics.answered(path, noted.status or CLIENT_LEFT, time.perf_counter() - start)


class _Metrics:
    def __init__(self, served: Served | None) -> None:
        import prometheus_client

        self.processes = ProcessMetrics(served)
        labels = ["endpoint", "service_name", "service_version", "runner_name"]
        self._common = server_context.bento_name, server_context.bento_version, server_context.service_name
        more: dict[str, Any] = {"namespace": NAMESPACE}
        self._seconds = prometheus_client.Histogram(
            "request_duration_seconds", "Seconds of a request", [*labels, "http_response_code"], buckets=SECONDS, **more
        )
        self._total = prometheus_client.Counter("request", "Requests", [*labels, "http_response_code"], **more)
        self._under_way = prometheus_client.Gauge(
            "request_in_progress", "Requests under way", labels, multiprocess_mode="livesum", **more
        )
        self._last = prometheus_client.Gauge(
            "last_request_timestamp_seconds", "When the last request came", labels[1:], multiprocess_mode="max", **more
        ).labels(*self._common)
        self._known: dict[Any, Any] = {}

    def under_way(self, path: str) -> Any:
        """The gauge of a path."""
        if path not in self._known:
            self._known[path] = self._under_way.labels(path, *self._common)
        return self._known[path]

    def answered(self, path: str, status: int, seconds: float) -> None:
        """A request has its answer."""
        if (path, status) not in self._known:
            labels = path, *self._common, status
            self._known[path, status] = self._total.labels(*labels), self._seconds.labels(*labels)
        total, duration = self._known[path, status]
        total.inc()
        duration.observe(seconds)
        self.processes.refresh_sometimes()
        if path not in SYSTEM:
            self._last.set_to_current_time()
