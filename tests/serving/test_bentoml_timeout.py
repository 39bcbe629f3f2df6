"""BentoML's timeout, in whose place this one stands, leaves nothing of a request behind."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from bentoml._internal.server.http import traffic
from starlette.testclient import TestClient

from quantbento.serving import bentoml_timeout
from quantbento.serving.bentoml_timeout import TimeoutMiddleware

BENTOMLS = traffic.TimeoutMiddleware


def taking(seconds: float):
    async def endpoint(scope, receive, send):
        await asyncio.sleep(seconds)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    return endpoint


@pytest.mark.parametrize("kind", [BENTOMLS, TimeoutMiddleware])
def test_both_answer_alike(kind):
    late = TestClient(kind(taking(5), 0.05)).get("/")
    assert (late.status_code, late.json()) == (504, {"error": "Not able to process the request in 0.05 seconds"})
    assert TestClient(kind(taking(0), 5)).get("/").text == "done"


def test_an_answered_request_is_forgotten_at_once():
    class Kept:
        pass

    async def ask() -> bool:
        scope = {"type": "http", "path": "/", "kept": Kept()}
        kept = weakref.ref(scope["kept"])

        async def send(message):
            pass

        await TimeoutMiddleware(taking(0), 60)(scope, None, send)
        del scope
        gc.collect()
        timers = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]
        return kept() is None and not timers

    assert asyncio.run(ask())


def test_it_takes_the_place_of_bentomls(monkeypatch):
    monkeypatch.setattr(traffic, "TimeoutMiddleware", BENTOMLS)
    bentoml_timeout.install()
    assert traffic.TimeoutMiddleware is TimeoutMiddleware
