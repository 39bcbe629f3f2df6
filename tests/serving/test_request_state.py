"""A request has an id, and it is known whether its client still waits."""

from __future__ import annotations

import asyncio

import pytest
from starlette.testclient import TestClient

from quantbento.serving.request_state import RequestState, RequestStates, current_request


async def endpoint(scope, receive, send):
    body = current_request().id.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_the_clients_id_is_kept_and_answered():
    response = TestClient(RequestStates(endpoint)).get("/", headers={"x-request-id": "abc-1"})
    assert response.text == response.headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "tab\there"])
def test_an_id_that_cannot_stand_in_a_log_is_replaced(given):
    headers = {} if given is None else {"x-request-id": given}
    client = TestClient(RequestStates(endpoint))
    first, second = (client.get("/", headers=headers).headers["x-request-id"] for _ in range(2))
    assert first != second
    assert len(first) == 16


def test_outside_of_a_request_there_is_none():
    assert current_request() is None


def test_a_client_that_left_is_noticed_without_waiting():
    left = asyncio.Event()

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    async def ask():
        state = RequestState("a", receive, {})
        before = state.gone()
        left.set()
        return before, state.gone()

    assert asyncio.run(ask()) == (False, True)
