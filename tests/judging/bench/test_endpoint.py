"""Requests for any service, made up from what it says of itself."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench import endpoint
from quantbento.judging.bench.endpoint import Endpoint, as_json

TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}, "example": ["A film.", "A book."]}


def document(**paths) -> dict:
    """An OpenAPI document with these endpoints' required fields."""
    return {
        "paths": {
            path: {
                "post": {
                    "requestBody": {
                        "content": {"application/json": {"schema": {"required": list(fields), "properties": fields}}}
                    }
                }
            }
            for path, fields in paths.items()
        }
    }


def found(monkeypatch, described: dict, task: str = "feature-extraction") -> Endpoint:
    answers = {"info": {"model": "m:1", "task": task}, "docs.json": described}
    monkeypatch.setattr(endpoint, "_get", lambda address, headers: answers[address.rpartition("/")[2]])
    return endpoint.find("http://h:1/", {})


def test_the_endpoint_that_takes_a_list(monkeypatch):
    described = document(
        **{"/v1/embeddings": {"input": TEXTS}, "/rerank": {"documents": TEXTS}, "/odd": {"a": TEXTS, "b": TEXTS}},
        **{"/encode": {"texts": TEXTS}},
    )
    got = found(monkeypatch, described)
    assert (got.url, got.path, got.field, got.model) == ("http://h:1", "/encode", "texts", "m:1")
    with pytest.raises(QuantbentoError, match="no endpoint that takes a list of inputs; it has: /odd"):
        found(monkeypatch, document(**{"/odd": {"a": TEXTS, "b": TEXTS}}))


def items(schema: dict, task: str = "x") -> list:
    return Endpoint("u", "m", task, "/p", "f", schema).items([])


def test_made_up_inputs_differ_and_fit():
    texts = items(TEXTS)
    assert len(set(texts)) == len(texts) == endpoint.DIFFERENT
    assert texts[0].startswith("A film. ")
    pair = {"type": "object", "properties": {"query": {"type": "string"}, "document": {"type": "string"}}}
    assert set(items({"items": pair})[0]) == {"query", "document"}
    row = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
    matrix = {"type": "array", "items": row, "minItems": 1}
    assert np.asarray(items({"items": row})[0]).shape == (3,)
    assert np.asarray(items({"items": matrix})[0]).shape == (endpoint.FREE_SIZE, 3)
    assert np.asarray(items({"items": matrix, "example": [[[0, 0, 0]] * 2]})[5]).shape == (2, 3)
    ids = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}
    assert items({"items": ids, "example": [[7, 8]]})[1] == [7, 8]
    assert len(set(items({"type": "string"}, "text-generation"))) == endpoint.DIFFERENT


def test_made_up_images_are_images():
    from PIL import Image

    first, second = items({"items": {"type": "string", "format": "byte"}})[:2]
    assert first != second
    with Image.open(io.BytesIO(base64.b64decode(first))) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (224, 224), "RGB")
        image.load()


def test_samples_as_a_client_sends_them(tmp_path):
    (tmp_path / "a.png").write_bytes(b"png")
    assert as_json(tmp_path / "a.png", {}) == as_json(b"png", {}) == base64.b64encode(b"png").decode()
    assert as_json({"x": np.ones(2, np.float32)}, {"type": "array"}) == [1.0, 1.0]
    assert json.dumps(as_json({"x": np.ones(1), "y": np.int64(2)}, {"type": "object"})) == '{"x": [1.0], "y": 2}'


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:3000", "is no address; for example --url http"),
        ("http://127.0.0.1:9", "does not answer .* Start a service: quantbento serve TAG"),
    ],
)
def test_where_nothing_answers(url, said):
    with pytest.raises(QuantbentoError, match=said):
        endpoint.find(url, {})
