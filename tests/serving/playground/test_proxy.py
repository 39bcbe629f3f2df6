"""One page for two services: what is asked below /a/ and /b/ gets there and back as it is."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.playground.proxy import side_by_side

URLS = ["http://127.0.0.1:1", "http://127.0.0.1:2"]


async def echo(request: Request) -> JSONResponse:
    body = (await request.body()).decode()
    said = {"port": request.url.port, "path": request.url.path, "query": request.url.query, "body": body}
    return JSONResponse(said | {"key": request.headers.get("x-api-key")}, 422, {"x-model": "mine:1"})


async def events(request: Request) -> StreamingResponse:
    async def pieces():
        for number in range(3):
            yield f"data: {number}\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


@pytest.fixture
def client():
    services = Starlette(routes=[Route("/events", events), Route("/{path:path}", echo, methods=["GET", "POST"])])
    app = side_by_side(URLS, transport=httpx.ASGITransport(services))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize(("letter", "port"), [("a", 1), ("b", 2)])
def test_a_request_gets_to_its_service_and_the_answer_back(client, letter, port):
    response = client.post(f"/{letter}/v1/predict?x=1%202", content=b'{"a": 1}', headers={"x-api-key": "secret"})
    assert (response.status_code, response.headers["x-model"]) == (422, "mine:1")
    expected = {"port": port, "path": "/v1/predict", "query": "x=1%202", "body": '{"a": 1}', "key": "secret"}
    assert response.json() == expected


def test_a_stream_comes_through(client):
    response = client.get("/a/events")
    assert response.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert response.headers["content-type"].startswith("text/event-stream")


def test_the_page_asks_both(client):
    assert 'data-services="./a/ ./b/"' in client.get("/").text
    assert client.get("/c/info").status_code == 404


def test_another_name_for_this_machine_is_refused(client):
    """What a site's own name server can give to 127.0.0.1 would let the site read answers."""
    assert client.get("/a/info", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:3000"}).status_code == 200


def test_no_other_origin_is_let_in(client):
    response = client.post("/a/predict", content=b"{}", headers={"origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert client.options("/a/predict", headers={"origin": "http://evil.example"}).status_code == 405


def test_one_service_has_one_place():
    with TestClient(side_by_side(URLS[:1]), base_url="http://127.0.0.1") as client:
        assert 'data-services="./a/"' in client.get("/").text
        assert client.get("/b/info").status_code == 404


def test_a_service_that_is_gone_is_told():
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with TestClient(side_by_side(URLS, transport=httpx.MockTransport(gone)), base_url="http://127.0.0.1") as client:
        response = client.get("/b/info")
    assert (response.status_code, response.text) == (502, "the service at http://127.0.0.1:2 does not answer: refused")
