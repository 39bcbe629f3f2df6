"""Bodies that are too large, or of a kind that nobody takes, are refused unread."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.errors import BodyTooLarge
from quantbento.serving.request_guard import RequestGuard


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = Starlette(routes=[Route("/echo", echo, methods=["POST"])])
    app.add_middleware(RequestGuard, max_body_bytes=100, instead="JSON")
    return TestClient(app)


def test_the_largest_body_allowed_passes(client):
    assert client.post("/echo", content=b"x" * 100).text == "100"


def test_a_larger_body_is_413_and_names_the_limit(client):
    response = client.post("/echo", content=b"x" * 101)
    assert response.status_code == 413
    assert "100 bytes (max_body_bytes)" in response.json()["detail"]


def test_a_body_without_a_declared_length_is_counted(client):
    with pytest.raises(BodyTooLarge, match="100 bytes"):
        client.post("/echo", content=(b"x" * 10 for _ in range(11)))
    assert int(BodyTooLarge.error_code) == 413


KINDS = [
    "multipart/form-data; boundary=x",
    "Application/x-www-form-urlencoded",
    "text/plain",
    "application/vnd.bentoml+pickle",
]


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_is_415_and_told_what_to_send(client, kind):
    response = client.post("/echo", content=b"--x", headers={"content-type": kind})
    assert response.status_code == 415
    assert response.json()["detail"].endswith("is not taken: send JSON")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", ""])
def test_json_passes_and_what_says_nothing(client, kind):
    assert client.post("/echo", content=b"{}", headers={"content-type": kind} if kind else {}).text == "2"


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body_is_415_and_told_what_is_taken(client, encoding):
    response = client.post("/echo", content=b"{}", headers={"content-encoding": encoding})
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")
    assert encoding in response.json()["detail"]
    assert client.post("/echo", content=b"{}", headers={"content-encoding": "identity"}).text == "2"


def test_forms_pass_where_they_are_taken():
    app = Starlette(routes=[Route("/echo", echo, methods=["POST"])])
    app.add_middleware(RequestGuard, max_body_bytes=100, takes=["application/x-www-form-urlencoded"])
    assert TestClient(app).post("/echo", data={"a": "b"}).text == "3"
