"""A body means one thing, or it is refused."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest
from bentoml.exceptions import InvalidArgument
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request

from quantbento.serving.strict_json import parse_json, strict


class Fields(BaseModel):
    texts: list[Annotated[str, Field(max_length=3)]]
    top: int = 1


def read(body: bytes) -> Fields:
    async def receive():
        return {"type": "http.request", "body": body}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    return asyncio.run(strict(Fields).from_http_request(request, None))


def test_what_is_right_is_read():
    assert read(b'{"texts": ["a", "b"], "top": 2}').model_dump() == {"texts": ["a", "b"], "top": 2}
    assert strict(Fields).__name__ == "Fields"


@pytest.mark.parametrize(
    ("body", "place", "kind"),
    [
        (b'{"texts": ["a"], "tops": 2}', ("tops",), "extra_forbidden"),
        (b"{}", ("texts",), "missing"),
        (b"", ("texts",), "missing"),
        (b'{"texts": ["long"]}', ("texts", 0), "string_too_long"),
        (b'{"texts": ["a"], "top": "x"}', ("top",), "int_parsing"),
        (b"[1]", (), "model_type"),
        (b'{"texts": [NaN]}', ("texts", 0), "string_type"),
        (b'{"texts": [], "top": Infinity}', ("top",), "finite_number"),
    ],
)
def test_what_is_wrong_is_named(body, place, kind):
    with pytest.raises(ValidationError) as raised:
        read(body)
    assert [(e["loc"], e["type"]) for e in raised.value.errors()] == [(place, kind)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"texts": ["a"], "texts": ["b"]}', 'duplicate key "texts"'),
        (b'{"a": [{"b": 1, "b": 2}]}', 'duplicate key "b"'),
        (b'{"a"', "EOF"),
        (b'{"a": 1} 2', "trailing"),
        (b'{"a": "\\ud800"}', "hex escape"),
        (b"\xff", "line 1"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_json_or_means_two_things_is_400(body, said):
    with pytest.raises(InvalidArgument, match="not valid JSON") as raised:
        parse_json(body)
    assert said.lower() in str(raised.value).lower()
    assert raised.value.error_code == 400
