"""Errors in OpenAI's shape, whoever answered."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.openai_errors import OpenAIErrors


def answering(status: int, body: bytes):
    async def endpoint(request: Request) -> Response:
        return Response(body, status_code=status, media_type="application/json")

    return endpoint


VALIDATION = b'{"error": "1 validation error", "detail": [{"loc": ["input", 1], "msg": "too long", "type": "x"}]}'
ERRORS = {
    "validation": (400, VALIDATION, "too long", "input.1", "invalid_request_error"),
    "a list": (422, b'[{"error": "item 0 failed"}]', "item 0 failed", None, "invalid_request_error"),
    "ours": (500, b'{"error": "unexpected"}', "unexpected", None, "server_error"),
    "not JSON": (503, b"busy", "busy", None, "server_error"),
}


@pytest.mark.parametrize(("status", "body", "message", "parameter", "kind"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_in_openais_shape_under_v1_only(status, body, message, parameter, kind):
    app = Starlette(routes=[Route(path, answering(status, body)) for path in ("/v1/embeddings", "/encode")])
    client = TestClient(OpenAIErrors(app))
    response = client.get("/v1/embeddings")
    assert response.status_code == status
    assert response.json() == {"error": {"message": message, "type": kind, "param": parameter, "code": None}}
    assert client.get("/encode").content == body


def test_an_error_in_openais_shape_is_left_alone():
    body = b'{"error": {"message": "n: must be at most 8", "type": "t", "param": "n", "code": 400}}'
    app = Starlette(routes=[Route("/v1/completions", answering(400, body))])
    assert TestClient(OpenAIErrors(app)).get("/v1/completions").content == body


def test_answers_are_left_alone():
    client = TestClient(OpenAIErrors(Starlette(routes=[Route("/v1/embeddings", answering(200, b"[1]"))])))
    assert client.get("/v1/embeddings").json() == [1]
