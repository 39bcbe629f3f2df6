"""Pydantic's schemas become those of OpenAPI 3.0."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from quantbento.serving.openapi_schema import converted, schemas_of


class Inner(BaseModel):
    kind: Literal["a"]
    nothing: None = None


class Outer(BaseModel):
    ratio: Annotated[float, Field(gt=0, lt=1)] | None = None
    inner: Inner | None = None
    either: int | str | None = None
    title: str = "x"


def test_null_constants_and_limits():
    found = schemas_of([Outer])
    assert found.keys() == {"Outer", "Inner"}
    assert found["Inner"]["properties"] == {
        "kind": {"type": "string", "enum": ["a"]},
        "nothing": {"nullable": True, "enum": [None]},
    }
    limits = {"minimum": 0, "exclusiveMinimum": True, "maximum": 1, "exclusiveMaximum": True}
    assert found["Outer"]["properties"] == {
        "ratio": {"type": "number", "nullable": True, **limits},
        "inner": {"anyOf": [{"$ref": "#/components/schemas/Inner"}], "nullable": True},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}], "nullable": True},
        "title": {"type": "string", "default": "x"},
    }


def test_what_a_client_may_name_is_left_alone():
    schema = {"type": "object", "properties": {"const": {"const": 1}, "title": {"title": "T", "type": "string"}}}
    assert converted(schema)["properties"] == {"const": {"enum": [1]}, "title": {"type": "string"}}
