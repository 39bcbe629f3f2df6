"""`GET /slo`: how a service does against its objectives, counted by itself.

A burn rate is how much faster than evenly the error budget is spent: 1 spends all of it in exactly the objective's
window. The alerts are the workbook's: a page where 2 % of the budget was spent within 1 hour, or 5 % within 6, and is
still being spent in a window a twelfth as long.
Site Reliability Workbook, chapter 5, "Alerting on SLOs", section 6, "Multiwindow, Multi-Burn-Rate Alerts":
https://sre.google/workbook/alerting-on-slos/
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from bentoml._internal.context import server_context
from starlette.responses import JSONResponse

from quantbento.serving.asgi import CLIENT_LEFT, App, Receive, Scope, Send, StatusNoted
from quantbento.serving.request_window import RequestWindow, Sums
from quantbento.serving.slo_file import Objectives

PATH = "/slo"
WINDOWS = {"5m": 300, "30m": 1800, "1h": 3600, "6h": 21_600}  # seconds
# The part of the budget that was spent, in which window, and the one in which it still is.
PAGES = [(0.02, "1h", "5m"), (0.05, "6h", "30m")]
SLOW = 0.05  # the part of the answers that may be slower than a 95th percentile


class Slo:
    """ASGI middleware: notes every answer of the service's endpoints, and answers `GET /slo`."""

    def __init__(self, app: App, objectives: Objectives, paths: Collection[str], workers: int = 1) -> None:
        """`paths` are those of the endpoints."""
        self.app, self.objectives, self.paths, self.workers = app, objectives, frozenset(paths), workers
        limit = objectives.latency_p95.target if objectives.latency_p95 else None
        self.window = RequestWindow(limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] in ("GET", "HEAD"):
            await JSONResponse(self.state())(scope, receive, send)
        elif scope["type"] != "http" or scope["path"] not in self.paths:
            await self.app(scope, receive, send)
        else:
            await self._noted(scope, receive, send)

    async def _noted(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, noted = time.perf_counter(), StatusNoted(send)
        try:
            await self.app(scope, receive, noted)
        except Exception:
            noted.status = noted.status or 500  # which the server answers then
            raise
        finally:
            if noted.status and noted.status != CLIENT_LEFT:  # who left did not wait for an answer
                self.window.note(noted.status, time.perf_counter() - start)

    def state(self) -> dict[str, Any]:
        """The body of the answer."""
        sums = {name: self.window.sums(seconds) for name, seconds in WINDOWS.items()}
        told = self.objectives.model_fields_set
        return {
            "counted_by": {
                "worker": server_context.worker_index or 1,
                "workers": self.workers,
                "whole_service": self.workers == 1,
                "seconds": round(self.window.age(), 1),
            },
            "windows": {name: _shown(each) for name, each in sums.items()},
            "objectives": {name: self._objective(name, sums) for name in Objectives.model_fields if name in told},
        }

    def _objective(self, name: str, sums: dict[str, Sums]) -> dict[str, Any]:
        objective = getattr(self.objectives, name)
        rates = {window: burn_rate(name, objective.target, each) for window, each in sums.items()}
        limits = {long: spent * objective.window / WINDOWS[long] for spent, long, _ in PAGES}
        page = any(min(rates[long] or 0, rates[short] or 0) > limits[long] for _, long, short in PAGES)
        return {
            "target": objective.target,
            "window_days": objective.window / 86_400,
            "burn_rates": rates,
            "page_above": limits,
            "page": page,
        }


def burn_rate(name: str, target: float, sums: Sums) -> float | None:
    """The share of bad requests over the share that the objective allows; None where there were none to judge."""
    bad, of, allowed = {
        "availability": (sums.unavailable, sums.requests, 1 - target),
        "error_rate": (sums.failed, sums.requests, target),
        "latency_p95": (sums.slow, sums.answers, SLOW),
    }[name]
    return bad / of / allowed if of else None


def _shown(sums: Sums) -> dict[str, Any]:
    count = sums.requests
    return {
        "requests": count,
        "availability": 1 - sums.unavailable / count if count else None,
        "error_rate": sums.failed / count if count else None,
        "p95_seconds": sums.quantile(0.95),
    }
