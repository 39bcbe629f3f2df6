"""Bodies that are too large are refused unread, and clients turned away are told when to come back."""

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


def answering(status: int):
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse("", status_code=status)

    return endpoint


@pytest.fixture(scope="module")
def client() -> TestClient:
    routes = [Route("/echo", echo, methods=["POST"])] + [Route(f"/{s}", answering(s)) for s in (200, 429, 500, 503)]
    app = Starlette(routes=routes)
    app.add_middleware(RequestGuard, max_body_bytes=100, instead_of_forms="JSON")
    return TestClient(app)


def test_the_largest_body_allowed_passes(client):
    assert client.post("/echo", content=b"x" * 100).text == "100"


def test_a_larger_body_is_413_and_names_the_limit(client):
    response = client.post("/echo", content=b"x" * 101)
    assert response.status_code == 413
    assert "100 bytes (max_body_bytes)" in response.json()["error"]


def test_a_body_without_a_declared_length_is_counted(client):
    with pytest.raises(BodyTooLarge, match="100 bytes"):
        client.post("/echo", content=(b"x" * 10 for _ in range(11)))
    assert int(BodyTooLarge.error_code) == 413


@pytest.mark.parametrize(("status", "told"), [(200, False), (429, True), (500, False), (503, True)])
def test_retry_after(client, status, told):
    assert ("retry-after" in client.get(f"/{status}").headers) is told


@pytest.mark.parametrize("form", ["multipart/form-data; boundary=x", "Application/x-www-form-urlencoded"])
def test_a_form_is_415_and_told_what_to_send(client, form):
    response = client.post("/echo", content=b"--x", headers={"content-type": form})
    assert response.status_code == 415
    assert response.json()["error"].endswith("is not taken: send JSON")


def test_forms_pass_where_they_are_taken():
    app = Starlette(routes=[Route("/echo", echo, methods=["POST"])])
    app.add_middleware(RequestGuard, max_body_bytes=100)
    assert TestClient(app).post("/echo", data={"a": "b"}).text == "3"
