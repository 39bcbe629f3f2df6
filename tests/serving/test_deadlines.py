"""A request takes no longer than the service allows, nor than its client waits."""

from __future__ import annotations

import asyncio
import time

import pytest
from starlette.testclient import TestClient

from quantbento.serving.deadlines import Deadlines
from quantbento.serving.request_state import RequestStates, current_request

cancelled = []


def taking(seconds: float, begun: bool = False):
    async def endpoint(scope, receive, send):
        try:
            if begun:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.append(scope["path"])
            raise
        if not begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        left = current_request().deadline - asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": str(left).encode()})

    return endpoint


def client_of(endpoint, seconds: float = 5.0) -> TestClient:
    return TestClient(RequestStates(Deadlines(endpoint, seconds)))


def test_what_takes_longer_is_504_and_its_work_is_cancelled():
    start = time.perf_counter()
    response = client_of(taking(10), 0.05).get("/slow")
    assert time.perf_counter() - start < 2
    assert response.status_code == 504
    assert response.json()["detail"] == "not answered in 0.05 seconds"
    assert cancelled.pop() == "/slow"


@pytest.mark.parametrize(
    ("header", "value"),
    [("X-Request-Timeout", "0.05"), ("x-envoy-expected-rq-timeout-ms", "50"), ("x-stainless-read-timeout", "0.05")],
)
def test_a_client_can_wait_less(header, value):
    assert client_of(taking(10)).get("/", headers={header: value}).status_code == 504


@pytest.mark.parametrize("value", ["600", "None", "nan", "inf", "soon"])
def test_a_client_cannot_wait_more(value):
    response = client_of(taking(0)).get("/", headers={"X-Request-Timeout": value})
    assert 4 < float(response.text) <= 5


def test_a_client_that_does_not_wait_at_all_gets_an_answer():
    assert client_of(taking(1)).get("/", headers={"X-Request-Timeout": "-1"}).status_code == 504


def test_a_response_that_has_begun_is_not_cut():
    assert client_of(taking(0.2, begun=True), 0.05).get("/").status_code == 200


def test_an_error_of_the_endpoints_is_its_own():
    async def endpoint(scope, receive, send):
        raise TimeoutError("of a database")

    with pytest.raises(TimeoutError, match="of a database"):
        client_of(endpoint).get("/")


def test_a_task_that_would_begin_while_the_deadline_passes_is_504():
    """Starlette sends files from a task of its own, which the cancellation reaches a moment later."""

    async def app(scope, receive, send):
        async def begin():
            time.sleep(0.02)
            for _ in range(2):  # so that it runs between the deadline and the cancellation
                await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async with asyncio.TaskGroup() as group:
            group.create_task(begin())

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Deadlines(app, 0.01)({"type": "http", "path": "/", "headers": []}, None, send))
    assert [m["status"] for m in sent if "status" in m] == [504]
