"""Endpoints answered directly, with the answers, errors and log lines that BentoML's own way gives."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any, Literal

import bentoml
import numpy as np
import pytest
from pydantic import BaseModel, Field
from starlette.testclient import TestClient

from quantbento.serving import logs
from quantbento.serving.answers import Failed
from quantbento.serving.direct import DirectEndpoints
from quantbento.serving.errors import Overloaded
from quantbento.serving.strict_json import strict

Numbers = Annotated[list[float], Field(max_length=3)]


class Pair(BaseModel):
    one: int


@bentoml.service
class Doubling:
    instance: Any = None

    @bentoml.api
    async def double(self, numbers: Numbers, kind: Literal["list", "array", "model"] = "list") -> Any:
        if 13.0 in numbers:
            raise Overloaded("no room", retry_after=2)
        if 14.0 in numbers:
            raise RuntimeError("a secret of the model's")
        made = [2 * number for number in numbers]
        return {"list": made, "array": [np.float32(made[0]), np.asarray(made)], "model": Pair(one=1)}[kind]

    @bentoml.api
    async def fail(self) -> Any:
        return [1, Failed(ValueError("odd"))]

    @bentoml.api
    async def with_context(self, ctx: bentoml.Context) -> Any:
        return 1

    @bentoml.api
    def in_a_thread(self) -> Any:
        return 1

    @bentoml.api(batchable=True)
    async def batched(self, numbers: list[float]) -> list[float]:
        return numbers


async def bentomls(scope, receive, send):
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def client(monkeypatch) -> TestClient:
    monkeypatch.setattr(logs, "_last", {})
    apis = dict(Doubling.apis)
    for api in apis.values():
        monkeypatch.setattr(api, "input_spec", strict(api.input_spec))
    Doubling.inner.instance = Doubling.inner()
    return TestClient(DirectEndpoints(bentomls, Doubling.inner, apis))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("list", [2, 4]), ("array", [2, [2, 4]]), ("model", {"one": 1})],
    ids=["list", "array", "model"],
)
def test_it_answers_in_json_whatever_the_endpoint_returns(client, kind, answer):
    response = client.post("/double", json={"numbers": [1, 2], "kind": kind})
    assert (response.status_code, response.json()) == (200, answer)
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)


@pytest.mark.parametrize("path", ["/with_context", "/in_a_thread", "/batched", "/nowhere"])
def test_what_needs_more_of_bentoml_is_left_to_it(client, path):
    assert client.post(path, json={}).status_code == 418


def test_another_method_is_left_to_bentoml(client):
    assert client.get("/double").status_code == 418


ERRORS = {
    "a field": ({"numbers": ["x"]}, 400, "numbers.0: Input should be a valid number"),
    "another field": ({"numbers": [1], "kinds": "list"}, 400, "kinds: Extra inputs are not permitted"),
    "overloaded": ({"numbers": [13]}, 503, "no room"),
    "its own": ({"numbers": [14]}, 500, "An unexpected error has occurred, please check the server log."),
}


@pytest.mark.parametrize(("body", "status", "said"), ERRORS.values(), ids=ERRORS)
def test_errors_are_problems(client, body, status, said):
    response = client.post("/double", json=body)
    assert response.status_code == response.json()["status"] == status
    assert response.json()["detail"].startswith(said)


def test_an_item_that_failed_fails_the_request(client):
    response = client.post("/fail", json={})
    assert (response.status_code, response.json()["detail"]) == (422, "item 1: the model failed on it: ValueError: odd")


def test_a_mistake_of_the_clients_is_a_line_and_ours_a_traceback(client, caplog):
    with caplog.at_level(logging.WARNING, "bentoml.serve"):
        for _ in range(50):
            client.post("/double", json={"numbers": ["a client's data"]})
        client.post("/double", json={"numbers": [14]})
    mistake, ours = caplog.records
    assert mistake.getMessage() == "/double 400: numbers.0 float_parsing"
    assert mistake.exc_info is None
    assert "a secret of the model's" in caplog.text
    assert ours.exc_info


def test_a_client_that_leaves_before_its_body_is_whole_is_not_logged(client, caplog):
    messages = [{"type": "http.request", "body": b'{"numb', "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/double", "headers": []}
    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 499
    assert caplog.records == []
