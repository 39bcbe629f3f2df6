"""Who has no key gets nothing but probes, and the file's changes are seen without a restart."""

from __future__ import annotations

import asyncio
import hmac
import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from quantbento.serving import api_keys, key_file
from quantbento.serving.api_keys import ApiKeys, WatchedKeys
from quantbento.serving.key_file import KeyFileError
from quantbento.serving.request_state import RequestStates, current_request


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def key(path) -> str:
    key_file.add(path, "first")
    return key_file.add(path, "ada")


async def endpoint(scope, receive, send):
    """Answers with the name of the key, and the headers that came through."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    body = repr((current_request().key_name, sorted(dict(scope["headers"])))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def client(path: Path, *open_paths: str) -> TestClient:
    return TestClient(RequestStates(ApiKeys(endpoint, path, open_paths)))


HEADERS = {
    "bearer": lambda key: {"authorization": f"Bearer {key}"},
    "in-small-letters": lambda key: {"authorization": f"bearer  {key} "},
    "x-api-key": lambda key: {"x-api-key": key},
    "beside-a-proxys": lambda key: {"authorization": "Basic YTpi", "x-api-key": key},
    "beside-a-wrong-one": lambda key: {"authorization": "Bearer sk-unused", "x-api-key": key},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_with_a_key_a_request_passes_under_its_name_and_without_the_key(path, key, headers):
    response = client(path).post("/encode", headers=headers(key))
    assert response.status_code == 200
    assert "'ada'" in response.text
    assert "authorization" not in response.text
    assert "x-api-key" not in response.text


WRONG = {
    "none": lambda key: {},
    "another": lambda key: {"authorization": "Bearer qb-" + "A" * 43},
    "a-part": lambda key: {"x-api-key": key[:-1]},
    "more": lambda key: {"x-api-key": key + "A"},
    "its-hash": lambda key: {"x-api-key": key_file.digest_of(key.encode()).hex()},
    "its-name": lambda key: {"x-api-key": "ada"},
    "empty": lambda key: {"x-api-key": "", "authorization": "Bearer "},
    "another-scheme": lambda key: {"authorization": f"Basic {key}"},
    "no-scheme": lambda key: {"authorization": key},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_without_it_there_is_a_401_that_says_what_to_send_and_not_what_was_sent(path, key, headers):
    response = client(path).post("/encode", headers=headers(key))
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"
    assert "API key" in response.json()["detail"]
    for sent in headers(key).values():
        assert not sent or sent not in response.text


def test_openais_clients_are_told_in_their_shape(path, key):
    error = client(path).post("/v1/embeddings").json()["error"]
    assert "API key" in error["message"]
    assert error["type"] == "invalid_request_error"


def test_probes_and_open_paths_need_none(path, key):
    asked = client(path, "/metrics", "/", "/static_content/")
    for open_path in ("/livez", "/readyz", "/healthz", "/metrics", "/", "/static_content/a.js"):
        assert asked.get(open_path).status_code == 200, open_path
    for closed in ("/info", "/docs.json", "/metrics/", "/livez/", "/static_content", "/encode"):
        assert asked.get(closed).status_code == 401, closed
    assert client(path).get("/metrics").status_code == 401


def test_a_websocket_needs_one_too(path, key):
    with pytest.raises(WebSocketDisconnect) as closed, client(path).websocket_connect("/live"):
        pass
    assert closed.value.code == 1008
    with client(path).websocket_connect("/live", headers={"x-api-key": key}):
        pass


def test_every_hash_is_compared_whichever_is_right(path, key, monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(b) or real(a, b))
    keys = WatchedKeys(path)
    assert keys.name_of([key.encode()]) == "ada"
    assert keys.name_of([b"other"]) is None
    assert len(compared) == 4


def test_a_missing_or_wrong_file_is_an_error_at_the_start(path):
    with pytest.raises(KeyFileError, match="cannot be read"):
        ApiKeys(endpoint, path)
    path.write_text("nonsense")
    with pytest.raises(KeyFileError, match="line 1"):
        ApiKeys(endpoint, path)


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)` lets time pass."""
    now = [1000.0]
    monkeypatch.setattr(api_keys.time, "monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def test_a_change_is_seen_a_second_later(path, key, clock):
    keys = WatchedKeys(path)
    new = key_file.add(path, "new")
    key_file.remove(path, "ada")
    clock(0.5)
    assert (keys.name_of([new.encode()]), keys.name_of([key.encode()])) == (None, "ada")
    clock(0.6)
    assert (keys.name_of([new.encode()]), keys.name_of([key.encode()])) == ("new", None)


def test_the_last_key_that_is_removed_is_valid_no_longer(path, key, clock):
    keys = WatchedKeys(path)
    for name in ("first", "ada"):
        key_file.remove(path, name)
    clock(1.1)
    assert keys.name_of([key.encode()]) is None


@pytest.mark.parametrize("broken", ["removed", "wrong", "folder"])
def test_a_file_that_becomes_unusable_leaves_the_keys_and_one_line(path, key, clock, caplog, broken):
    keys = WatchedKeys(path)
    path.unlink()
    if broken == "wrong":
        path.write_text(f"{key}\nmore\n")
    elif broken == "folder":
        path.mkdir()
    with caplog.at_level(logging.INFO, "bentoml.serve"):
        for _ in range(5):
            clock(2)
            assert keys.name_of([key.encode()]) == "ada"
    [line] = [record.getMessage() for record in caplog.records]
    assert "stay as they were" in line
    assert "\n" not in line
    assert key not in line
    if broken == "folder":
        path.rmdir()
    path.unlink(missing_ok=True)
    new = key_file.add(path, "new")
    clock(2)
    assert (keys.name_of([new.encode()]), keys.name_of([key.encode()])) == ("new", None)


def test_a_file_is_not_looked_at_for_each_request(path, key, clock, monkeypatch):
    looked = []
    real = api_keys._state
    monkeypatch.setattr(api_keys, "_state", lambda path: looked.append(path) or real(path))
    keys = WatchedKeys(path)
    for _ in range(100):
        clock(0.05)
        keys.name_of([key.encode()])
    assert len(looked) <= 6


def test_what_is_no_request_passes(path, key):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(ApiKeys(app, path)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
