"""A NumPy file takes the way of a JSON request; what is wrong with it is told by the endpoint itself."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.serving import numpy_bodies
from quantbento.serving.errors import BodyTooLarge
from quantbento.serving.numpy_bodies import NumpyBodies, numpy_operation, sent_items, wants_numpy
from tests.serving.test_numpy_files import npy

SERVED = SimpleNamespace(settings=SimpleNamespace(max_items=4, max_body_bytes=1000))
FILE = "application/octet-stream"


class Endpoint:
    """Notes what it is asked, as BentoML would see it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status

    async def __call__(self, scope, receive, send) -> None:
        message = await receive()
        self.headers, self.body = dict(scope["headers"]), json.loads(message["body"])
        self.wants = wants_numpy()
        try:
            self.items = sent_items(self.body["inputs"])
        except Exception as error:
            self.items = error
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-type", b"json")]})
        await send({"type": "http.response.body", "body": b""})


def ask(endpoint, body: bytes, content_type=FILE, accept="*/*", path="/predict", parts=1):
    """What the endpoint sends."""
    size = -(-len(body) // parts) or 1
    chunks = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": c, "more_body": i + 1 < len(chunks)} for i, c in enumerate(chunks)]
    headers = [(b"content-type", content_type.encode()), (b"accept", accept.encode()), (b"content-length", b"9999")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(NumpyBodies(endpoint, SERVED, "/predict", "inputs")(scope, receive, send))
    return sent


@pytest.mark.parametrize("parts", [1, 3])
def test_the_endpoint_sees_as_many_placeholders_and_gets_the_items(parts):
    endpoint, array = Endpoint(), np.arange(6, dtype=np.uint8).reshape(2, 3)
    ask(endpoint, npy(array), parts=parts)
    assert endpoint.body == {"inputs": [0, 0]}
    assert endpoint.headers[b"content-type"] == b"application/json"
    assert endpoint.headers[b"content-length"] == str(len(json.dumps(endpoint.body))).encode()
    np.testing.assert_array_equal(np.stack(endpoint.items), array)


def test_json_is_left_alone():
    endpoint = Endpoint()
    ask(endpoint, b'{"inputs": [1, 2]}', content_type="application/json")
    assert (endpoint.items, endpoint.headers[b"content-length"]) == ([1, 2], b"9999")


def test_other_endpoints_are_left_alone():
    endpoint = Endpoint()
    ask(endpoint, b'{"inputs": [1, 2]}', path="/other")
    assert endpoint.items == [1, 2]


@pytest.mark.parametrize(("body", "said"), [(b"nothing", "is no .npy file"), (npy(np.zeros((5, 1))), "holds 5 items")])
def test_what_cannot_be_used_is_raised_where_the_endpoint_checks_its_inputs(body, said):
    endpoint = Endpoint()
    ask(endpoint, body)
    assert isinstance(endpoint.items, InvalidInput)
    assert said in str(endpoint.items)


def test_a_body_that_turns_out_too_large_is_told_as_such():
    async def too_large():
        raise BodyTooLarge("larger than allowed")

    endpoint = Endpoint()
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"content-type", FILE.encode())]}

    async def send(message):
        pass

    asyncio.run(NumpyBodies(endpoint, SERVED, "/predict", "inputs")(scope, too_large, send))
    assert isinstance(endpoint.items, BodyTooLarge)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (FILE, True),
        ("application/x-npy", True),
        ("text/html, application/octet-stream;q=0.9", True),
        ("application/json, application/octet-stream", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_numpy_is_answered_to_who_asks_for_it_and_not_for_json(accept, wanted):
    endpoint = Endpoint()
    [start, _] = ask(endpoint, b'{"inputs": [1]}', content_type="application/json", accept=accept)
    assert endpoint.wants is wanted
    assert dict(start["headers"])[b"content-type"] == (FILE.encode() if wanted else b"json")


def test_errors_stay_json():
    [start, _] = ask(Endpoint(status=400), npy(np.zeros((1, 1))), accept=FILE)
    assert dict(start["headers"])[b"content-type"] == b"json"


def test_nothing_of_a_request_stays_behind():
    """BentoML's batches keep the context of the first request."""
    kept = []

    class Keeping(Endpoint):
        async def __call__(self, scope, receive, send):
            await super().__call__(scope, receive, send)
            kept.append((numpy_bodies._sent.get(), weakref.ref(self.items[0])))
            self.items = None

    ask(Keeping(), npy(np.zeros((1, 50))))
    gc.collect()
    [(sent, array)] = kept
    assert sent.items == []
    assert array() is None


def test_the_document_names_the_type_for_requests_and_answers():
    operation = numpy_operation("/predict")["paths"]["/predict"]["post"]
    for part in (operation["requestBody"], operation["responses"]["200"]):
        assert part["content"][FILE]["schema"]["format"] == "binary"
