"""A request's inputs: limited by pydantic, checked by the model, described with an example."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from quantbento.core.errors import InvalidInput
from quantbento.serving.inputs import Inputs
from quantbento.serving.model import ServedModel
from quantbento.serving.settings import ServiceSettings
from tests.conftest import model_store
from tests.jobs import tensor_task


def refuse_no(inputs: list[Any]) -> list[Any]:
    if "no" in inputs:
        raise InvalidInput("must not be no", inputs.index("no"))
    return [f"checked {i}" for i in inputs]


METADATA = Inputs(2, 3, refuse_no, lambda: {"type": "integer"}, lambda: ["yes"])
Texts, Things = Annotated[list[str], METADATA], Annotated[list[Any], METADATA]


class Request(BaseModel):
    texts: Texts


@pytest.mark.parametrize(
    ("texts", "place", "said"),
    [
        ([], ("texts",), "at least 1 item"),
        (["a"] * 3, ("texts",), "at most 2 items"),
        (["abcd"], ("texts", 0), "at most 3 characters"),
        (["a", ""], ("texts", 1), "at least 1 character"),
        (["a", 5], ("texts", 1), "valid string"),
        (["a", "no"], ("texts",), "item 1: must not be no"),
    ],
    ids=["none", "too many", "too long", "empty", "not a text", "the model's check"],
)
def test_what_is_wrong_is_said_with_its_place(texts, place, said):
    with pytest.raises(ValidationError, match=said) as raised:
        Request(texts=texts)
    assert raised.value.errors()[0]["loc"] == place


def test_the_endpoint_gets_what_the_check_made():
    assert Request(texts=["a", "b"]).texts == ["checked a", "checked b"]


def test_texts_are_described_with_their_limits_and_an_example():
    assert Request.model_json_schema()["properties"]["texts"] == {
        "type": "array",
        "title": "Texts",
        "items": {"type": "string", "minLength": 1, "maxLength": 3},
        "minItems": 1,
        "maxItems": 2,
        "example": ["yes"],
    }


def test_other_things_are_described_by_their_task():
    assert TypeAdapter(Things).json_schema()["items"] == {"type": "integer"}
    assert TypeAdapter(Things).validate_python([5]) == ["checked 5"]


@pytest.fixture(scope="module")
def encoder(served_home) -> ServedModel:
    with model_store(served_home):
        return ServedModel(ServiceSettings(max_items=2), "feature-extraction", "tiny-encoder-onnx-int8").load()


def test_without_an_example_the_tasks_own_are_shown_as_many_as_fit(encoder):
    assert encoder.inputs(["mine"]).example() == ["mine"]
    shown = encoder.inputs().example()
    assert shown == encoder.task.examples()[:2]


def test_arrays_are_shown_as_a_client_sends_them(encoder, monkeypatch):
    monkeypatch.setattr(encoder.loaded, "task", tensor_task({"pixels": [2, 2]}, ["scores"]))
    assert encoder.inputs().example() == [[[0.0, 0.0], [0.0, 0.0]]]
    monkeypatch.setattr(encoder.loaded, "task", tensor_task({"a": [1], "b": [1]}, ["scores"]))
    assert encoder.inputs().example() == [{"a": [0.0], "b": [0.0]}]


def test_what_a_preprocess_function_takes_is_not_guessed(served_home):
    with model_store(served_home):
        tensors = ServedModel(ServiceSettings(), "tensor", "tiny-tensor-onnx-int8")
        assert tensors.inputs().example() is None  # not loaded yet
        tensors.load()
        assert tensors.inputs().example() is None


def test_an_example_that_the_model_would_not_take_is_not_shown(encoder, monkeypatch):
    monkeypatch.setattr(encoder.loaded.task, "examples", lambda: [["tokens", "of", "a", "text"]])
    assert encoder.inputs().example() is None
