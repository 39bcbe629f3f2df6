"""What reaches the engine is what was checked."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.generation.guard import GenerationGuard
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.request_guard import RequestGuard

LIMITS = GenerationSettings(max_tokens=100)
PATH = "/v1/completions"


async def echo(scope, receive, send):
    request = Request(scope, receive)
    body = (await request.body()).decode()
    await JSONResponse({"body": body, "length": request.headers["content-length"]})(scope, receive, send)


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=[Route(PATH, GenerationGuard(echo, LIMITS), methods=["POST"])]))


def test_a_key_given_twice_is_passed_on_once_as_it_was_checked(client):
    passed = client.post(PATH, content=b'{"prompt": "a", "max_tokens": 100000, "max_tokens": 5}').json()
    assert passed["body"] == '{"max_tokens":5,"prompt":"a"}'
    assert int(passed["length"]) == len(passed["body"])


@pytest.mark.parametrize(
    ("body", "parameter"),
    [(b'{"prompt": "a", "max_tokens": 101}', "max_tokens"), (b'{"prompt": "a"', None), (b"[]", None), (b"", None)],
    ids=["limit", "not JSON", "no object", "empty"],
)
def test_a_refusal_is_400_in_openais_shape(client, body, parameter):
    response = client.post(PATH, content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["message"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", parameter, None)


def test_another_model_is_404_with_those_there_are():
    guard = GenerationGuard(echo, LIMITS, names=lambda: ["it:1", "it", "red"])
    client = TestClient(Starlette(routes=[Route(PATH, guard, methods=["POST"])]))
    assert client.post(PATH, json={"prompt": "a", "model": "red"}).status_code == 200
    response = client.post(PATH, json={"prompt": "a", "model": "green"})
    assert (response.status_code, response.json()["error"]["param"]) == (404, "model")
    assert "`it:1`, `it`, `red`" in response.json()["error"]["message"]


def test_many_wrong_items_make_one_short_answer(client):
    body = {"messages": [{"role": "nobody", "content": 5}] * 1000}
    response = TestClient(
        Starlette(routes=[Route("/v1/chat/completions", GenerationGuard(echo, LIMITS), methods=["POST"])])
    ).post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert len(response.content) < 500


def test_the_engine_is_told_that_the_client_left():
    told = []

    async def engine(scope, receive, send):
        told.extend([(await receive())["type"], (await receive())["type"]])

    body = json.dumps({"prompt": "a"}).encode()
    messages = iter([{"type": "http.request", "body": body}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    asyncio.run(GenerationGuard(engine, LIMITS)(scope, receive, None))
    assert told == ["http.request", "http.disconnect"]


def test_a_body_that_turns_out_too_large_is_413(client):
    """Without a declared length, as chunks; the application is mounted, so nobody further out sees the error."""
    guarded = RequestGuard(Starlette(routes=[Route(PATH, GenerationGuard(echo, LIMITS), methods=["POST"])]), 1000)
    response = TestClient(guarded).post(PATH, content=iter([b'{"prompt": "', b"a" * 2000, b'"}']))
    assert response.status_code == 413
    assert "max_body_bytes" in response.json()["error"]["message"]


def test_a_client_that_leaves_before_its_body_is_whole_is_no_error():
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(GenerationGuard(echo, LIMITS)({"type": "http", "path": PATH, "headers": []}, receive, send))
    assert sent[0]["status"] == 499


def test_a_prompt_that_breaks_a_rule_is_refused_by_the_rules_name_alone():
    asked = []

    def rule(request):
        asked.append(request)
        return "patterns: secret" if "swordfish" in request.prompt else None

    route = Route(PATH, GenerationGuard(echo, LIMITS, rule), methods=["POST"])
    client = TestClient(Starlette(routes=[route]))
    assert client.post(PATH, json={"prompt": "a"}).status_code == 200
    response = client.post(PATH, json={"prompt": "swordfish"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["message"], error["param"]) == ("prompt: refused by this service's rule patterns: secret", "prompt")
    assert "swordfish" not in response.text
    assert client.post(PATH, json={"prompt": "swordfish", "n": 0}).json()["error"]["param"] == "n"
    assert len(asked) == 2  # what is wrong anyway is not screened
