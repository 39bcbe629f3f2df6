"""Requests with images: forms and JSON become the same list of checked images, or a client's error."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from http import HTTPStatus

import httpx
import numpy as np
import pytest
from bentoml.exceptions import BentoMLException, InvalidArgument
from pydantic import ValidationError
from starlette.requests import Request

from quantbento.core.errors import InvalidInput
from quantbento.serving.images import image_requests
from quantbento.serving.model import ServedModel
from quantbento.serving.settings import ServiceSettings
from quantbento.tasks.image.decoding import decoded
from tests.tiny_images import base64_of, file_of, picture

FIRST, SECOND = picture(seed=1), picture(seed=2)


class Checking(ServedModel):
    """Decodes images; an item with `top_k` becomes a pair."""

    def __init__(self, **settings):
        super().__init__(ServiceSettings(**settings), "image-classification", default="none")

    def check_inputs(self, inputs):
        return [self._checked(item) for item in inputs]

    def _checked(self, item):
        if isinstance(item, dict):
            return self._checked(item["image"]), item["top_k"]
        return np.asarray(decoded(item, 10_000)).mean()


MEANS = [np.asarray(image).mean() for image in (FIRST, SECOND)]


def read(request: httpx.Request, top_k: bool = True, served: ServedModel | None = None):
    return asyncio.run(awaited(image_requests(served or Checking(), top_k), request)).images


async def awaited(spec, request: httpx.Request):
    sent = [{"type": "http.request", "body": request.read(), "more_body": False}]

    async def receive():
        return sent.pop()

    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b"", "app": None}
    return await spec.from_http_request(Request(scope, receive), None)


def form(*files: tuple[str, bytes], **fields) -> httpx.Request:
    parts = [(name, ("file.png", data)) for name, data in files]
    return httpx.Request("POST", "http://host/", files=parts, data=fields)


def body(content: bytes, media_type: str) -> httpx.Request:
    return httpx.Request("POST", "http://host/", content=content, headers={"content-type": media_type})


def document(value) -> httpx.Request:
    return httpx.Request("POST", "http://host/", json=value)


def test_a_form_and_json_give_the_same_images_in_their_order():
    files = form(("images", file_of(FIRST)), ("images", file_of(SECOND)))
    assert read(files) == MEANS
    assert read(document({"images": [base64_of(FIRST), base64_of(SECOND)]})) == MEANS
    assert read(httpx.Request("POST", "http://h/", content=json.dumps({"images": [base64_of(FIRST)]}))) == MEANS[:1]


def test_a_form_may_hold_base64():
    assert read(httpx.Request("POST", "http://h/", files=[("images", (None, base64_of(FIRST)))])) == MEANS[:1]


def test_top_k_goes_with_each_image():
    expected = [(mean, 3) for mean in MEANS]
    assert read(form(("images", file_of(FIRST)), ("images", file_of(SECOND)), top_k="3")) == expected
    assert read(document({"images": [base64_of(FIRST), base64_of(SECOND)], "top_k": 3})) == expected
    assert read(document({"images": [base64_of(FIRST)], "top_k": None})) == MEANS[:1]


WRONG = {
    "no image": (document({}), "images", "missing"),
    "none": (document({"images": []}), "images", "too_short"),
    "too many": (document({"images": ["AA=="] * 3}), "images", "too_long"),
    "no list": (document({"images": "AA=="}), "images", "list_type"),
    "a damaged one": (form(("images", file_of(FIRST)), ("images", b"hello")), "images", "value_error"),
    "another name": (form(("image", file_of(FIRST))), "images", "missing"),
    "top_k 0": (form(("images", file_of(FIRST)), top_k="0"), "top_k", "greater_than_equal"),
    "top_k in words": (form(("images", file_of(FIRST)), top_k="all"), "top_k", "int_type"),
    "top_k a file": (form(("images", file_of(FIRST)), ("top_k", b"3")), "top_k", "int_type"),
    "top_k a float": (document({"images": [base64_of(FIRST)], "top_k": 2.0}), "top_k", "int_type"),
    "top_k a text": (document({"images": [base64_of(FIRST)], "top_k": "2"}), "top_k", "int_type"),
    "top_k true": (document({"images": [base64_of(FIRST)], "top_k": True}), "top_k", "int_type"),
    "top_k nested": (form(("images", file_of(FIRST)), top_k="[" * 100_000), "top_k", "int_type"),
    "top_k huge": (form(("images", file_of(FIRST)), top_k="9" * 10_000), "top_k", "int_type"),
    "a list": (document([]), None, "model_type"),
}


@pytest.mark.parametrize(("request_", "field", "kind"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_names_its_field(request_, field, kind):
    with pytest.raises(ValidationError) as raised:
        read(request_, served=Checking(max_items=2))
    found = {(error["loc"][0] if error["loc"] else None, error["type"]) for error in raised.value.errors()}
    assert (field, kind) in found


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"images": ["a"], "images": ["b"]}'])
def test_what_is_no_json_or_means_two_things_is_400(content):
    with pytest.raises(InvalidArgument, match="not valid JSON"):
        read(body(content, "application/json"), served=Checking(max_items=2))


def test_the_place_of_a_wrong_image_is_named():
    class Loaded(Checking):
        def _checked(self, item):
            raise InvalidInput("no", 1)

    with pytest.raises(ValidationError, match="item 1: no"):
        read(document({"images": ["", ""]}), served=Loaded())


def test_a_parameter_that_an_endpoint_does_not_have_is_refused():
    with pytest.raises(ValidationError, match=r"top_k\n.*Extra inputs are not permitted"):
        read(document({"images": [base64_of(FIRST)], "top_k": 1}), top_k=False)


@pytest.mark.parametrize("media_type", ["image/png", "text/plain", "application/x-www-form-urlencoded", "", "a;b"])
def test_another_content_type_is_415(media_type):
    with pytest.raises(BentoMLException, match="allowed are multipart/form-data with files named 'images'") as raised:
        read(body(file_of(FIRST), media_type))
    assert raised.value.error_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("multipart/form-data", b"abc"),
        ("multipart/form-data; boundary=", b"abc"),
        ("multipart/form-data; boundary=x", b"abc"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="images"\r\n' * 3),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--"),
        ("multipart/form-data; boundary=\xe9", b"--x"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: \xff\r\n\r\n"),
    ],
)
def test_a_broken_form_is_the_clients_mistake(media_type, content):
    request = body(content, "x/x")
    request.headers["content-type"] = media_type
    with pytest.raises((InvalidArgument, ValidationError)):
        read(request)


def test_images_are_decoded_beside_the_event_loop_and_one_request_after_the_other():
    threads, under_way, most = set(), [], 0

    class Slow(Checking):
        def check_inputs(self, inputs):
            nonlocal most
            threads.add(threading.get_ident())
            under_way.append(1)
            most = max(most, len(under_way))
            time.sleep(0.05)
            under_way.pop()
            return inputs

    async def several():
        spec = image_requests(Slow())
        return await asyncio.gather(*(awaited(spec, document({"images": [str(i)]})) for i in range(4)))

    answers = asyncio.run(several())
    assert [answer.images for answer in answers] == [["0"], ["1"], ["2"], ["3"]]
    assert threading.get_ident() not in threads
    assert most == 1


def test_openapi_describes_both():
    spec = image_requests(Checking(max_items=7), top_k=True)
    schema = spec.model_json_schema()
    assert schema["required"] == ["images"]
    assert schema["properties"]["images"]["maxItems"] == 7
    assert {"type": "integer", "minimum": 1} in schema["properties"]["top_k"]["anyOf"]
    [example] = schema["properties"]["images"]["example"]
    assert decoded(example, 10).size == (1, 1)
    added = spec.openapi_additions("/classify")["paths"]["/classify"]["post"]
    form = added["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["images"]["items"] == {"type": "string", "format": "binary"}
    assert set(form["properties"]) == {"images", "top_k"}
    assert "top_k" not in image_requests(Checking()).model_json_schema()["properties"]
