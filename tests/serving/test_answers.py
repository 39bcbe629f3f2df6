"""An endpoint's answers are rendered as JSON once, and a failed one fails the request it belongs to alone."""

from __future__ import annotations

import io
import json
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from quantbento.serving import numpy_bodies
from quantbento.serving.answers import Answers, Failed, as_json
from quantbento.serving.errors import ItemFailed, NotAcceptable

Vectors = TypeAdapter(Annotated[list[Any], Answers(lambda: {"type": "array", "items": {"type": "number"}})])


def test_arrays_are_rendered_as_float32():
    rendered = Vectors.dump_python(Vectors.validate_python([np.asarray([0.1, 2.5], np.float32)]))
    assert json.loads(rendered) == [[0.1, 2.5]]
    assert b"0.10000000149" not in rendered  # a float32 needs no 17 digits


def test_a_failed_answer_is_the_clients_422_with_its_place():
    with pytest.raises(ItemFailed, match=r"item 1: .*ValueError: odd") as raised:
        Vectors.validate_python([[1.0], Failed(ValueError("odd"))])
    assert raised.value.error_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_the_schema_says_what_an_answer_is():
    schema = Vectors.json_schema(mode="serialization")
    assert schema == {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}


def test_two_services_answers_are_two_types():
    """BentoML keeps one class for types that are equal, and with it one service's schema."""
    one, two = Answers(lambda: {"type": "string"}), Answers(lambda: {"type": "number"})
    assert one != two
    assert one.content_type == two.content_type == "application/json"


def test_who_asks_for_numpy_gets_it_or_is_told_why_not():
    token = numpy_bodies._wanted.set(True)
    try:
        rendered = Vectors.dump_python(Vectors.validate_python([np.zeros(2, np.float32), np.ones(2, np.float32)]))
        assert np.load(io.BytesIO(rendered)).tolist() == [[0, 0], [1, 1]]
        with pytest.raises(NotAcceptable, match=r"different shapes\. Ask for application/json") as raised:
            Vectors.validate_python([np.zeros(2), np.zeros(3)])
        assert raised.value.error_code == HTTPStatus.NOT_ACCEPTABLE
        with pytest.raises(ItemFailed):
            Vectors.validate_python([[1.0], Failed(ValueError("odd"))])
    finally:
        numpy_bodies._wanted.reset(token)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.asarray(3), b"3"),
        (np.asarray([[1, 2], [3, 4]]).T, b"[[1,3],[2,4]]"),
        (np.arange(4)[::2], b"[0,2]"),
        (np.zeros((2, 0), np.float32), b"[[],[]]"),
        (np.asarray([True]), b"[true]"),
        (np.longlong(3), b"3"),
    ],
    ids=["lone", "transposed", "every-second", "empty", "bool", "long"],
)
def test_arrays_of_any_shape_and_order_are_json(array, text):
    assert as_json(array) == text
