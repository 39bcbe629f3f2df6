"""One file: its headers, and what is answered to who has it already."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.playground.static_file import StaticFile

FILE = StaticFile("h1 { color: #123 } /* é */".encode(), "text/css", "default-src 'none'")


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=[Route("/a.css", FILE)]))


def test_it_comes_with_the_headers_that_keep_it_to_itself(client):
    response = client.get("/a.css")
    assert (response.status_code, response.content) == (200, FILE.body)
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert response.headers["content-length"] == str(len(FILE.body))
    assert response.headers["content-security-policy"] == "default-src 'none'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"


def test_head_is_the_same_without_the_body(client):
    head, get = client.head("/a.css"), client.get("/a.css")
    assert (head.status_code, head.content, head.headers) == (200, b"", get.headers)


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', "*"])
def test_who_has_it_gets_304(client, known):
    response = client.get("/a.css", headers={"if-none-match": known.format(FILE.etag)})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == FILE.etag
    assert response.headers["content-security-policy"] == "default-src 'none'"
    assert "content-length" not in response.headers


@pytest.mark.parametrize("known", ['"other"', "", FILE.etag[:-2]])
def test_who_has_another_gets_this_one(client, known):
    assert client.get("/a.css", headers={"if-none-match": known}).status_code == 200


def test_another_letter_is_another_tag():
    assert StaticFile(b"a", "text/css", "").etag != StaticFile(b"b", "text/css", "").etag


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(client, method):
    response = client.request(method, "/a.css")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
