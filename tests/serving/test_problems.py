"""Errors as problems, and under /v1/ in OpenAI's shape, whoever answered."""

from __future__ import annotations

import json

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.errors import Overloaded
from quantbento.serving.problems import Problem, Problems, respond, send_problem
from quantbento.serving.request_state import RequestStates


def answering(status: int, body: bytes, media_type: str = "application/json"):
    async def endpoint(request: Request) -> Response:
        return Response(body, status_code=status, media_type=media_type)

    return endpoint


def client_of(endpoint) -> TestClient:
    paths = ("/v1/embeddings", "/encode")
    return TestClient(RequestStates(Problems(Starlette(routes=[Route(path, endpoint) for path in paths]))))


DETAILS = [{"loc": ["input", 1], "msg": "Value error, too long", "type": "x"}, {"loc": [], "msg": "odd", "type": "y"}]
VALIDATION = json.dumps({"error": "2 validation errors", "detail": DETAILS}).encode()
ERRORS = {
    "validation": (400, VALIDATION, "input.1: too long; odd", "input.1", "Bad Request"),
    "a list": (422, b'[{"error": "item 0 failed"}]', "item 0 failed", None, "Unprocessable Entity"),
    "ours": (500, b'{"error": "unexpected"}', "unexpected", None, "Internal Server Error"),
    "not JSON": (503, b"busy", "busy", None, "Service Unavailable"),
    "nothing": (404, b"", "Not Found", None, "Not Found"),
    "another number": (499, b'{"error": "the client left"}', "the client left", None, "Client Closed Request"),
}


@pytest.mark.parametrize(("status", "body", "detail", "parameter", "title"), ERRORS.values(), ids=ERRORS.keys())
def test_each_path_has_its_shape(status, body, detail, parameter, title):
    client = client_of(answering(status, body))
    openais, problem = client.get("/v1/embeddings"), client.get("/encode")
    assert openais.status_code == problem.status_code == status
    kind = "invalid_request_error" if status < 500 else "server_error"
    assert openais.json() == {"error": {"message": detail, "type": kind, "param": parameter, "code": None}}
    assert problem.headers["content-type"] == "application/problem+json"
    said = problem.json()
    assert (said["title"], said["status"], said["detail"]) == (title, status, detail)
    assert said["request_id"] == problem.headers["x-request-id"]
    if parameter:
        assert said["errors"][0] == {"loc": ["input", 1], "msg": "too long", "type": "x"}


@pytest.mark.parametrize(("status", "told"), [(400, False), (429, True), (500, False), (503, True)])
def test_who_is_turned_away_is_told_when_to_come_back(status, told):
    assert ("retry-after" in client_of(answering(status, b"{}")).get("/encode").headers) is told


def test_an_error_says_its_own_status_reason_and_when_to_come_back():
    async def endpoint(scope, receive, send):
        await send_problem(scope, send, Problem.of(Overloaded("overloaded: 90 items wait", retry_after=2.2)))

    response = TestClient(endpoint).get("/encode")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert response.json()["detail"] == "overloaded: 90 items wait"
    assert TestClient(endpoint).get("/v1/embeddings").json()["error"]["message"] == "overloaded: 90 items wait"


def test_a_problem_is_left_alone():
    async def endpoint(scope, receive, send):
        await respond(scope, send, 413, "too large", [(b"x-more", b"1")])

    response = TestClient(Problems(endpoint)).post("/encode")
    assert (response.status_code, response.headers["x-more"]) == (413, "1")
    assert response.json()["detail"] == "too large"


def test_an_error_in_openais_shape_is_left_alone():
    body = b'{"error": {"message": "n: must be at most 8", "type": "t", "param": "n", "code": 400}}'
    assert client_of(answering(400, body)).get("/v1/embeddings").content == body


def test_answers_are_left_alone():
    assert client_of(answering(200, b"[1]")).get("/encode").json() == [1]
