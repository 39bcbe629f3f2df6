"""Embeddings in OpenAI's shape."""

from __future__ import annotations

import base64

import numpy as np

from quantbento.serving.openai_embeddings import embeddings_response, one_or_many


def test_base64_is_little_endian_float32():
    vector = [0.5, -2.0, 3.25]
    body = embeddings_response([vector], "base64", "m", 4)
    assert np.frombuffer(base64.b64decode(body["data"][0]["embedding"]), "<f4").tolist() == vector


def test_floats_keep_their_place_and_the_usage_is_counted():
    body = embeddings_response([[1.0], [2.0]], "float", "m", 4)
    assert [(d["index"], d["embedding"]) for d in body["data"]] == [(0, [1.0]), (1, [2.0])]
    assert (body["model"], body["usage"]["total_tokens"]) == ("m", 4)


def test_a_lone_text_is_a_list_of_one():
    assert one_or_many("a") == ["a"]
    assert one_or_many(["a", "b"]) == ["a", "b"]
