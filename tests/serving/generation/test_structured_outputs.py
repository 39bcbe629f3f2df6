"""A schema is taken within limits on what its compiling takes, and names nothing to be fetched."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from quantbento.serving.generation.body import problem
from quantbento.serving.generation.requests import CompletionRequest
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.generation.structured_outputs import checked_schema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z][a-z]{1,20}$"}, "friend": {"$ref": "#"}},
    "required": ["name"],
    "additionalProperties": False,
}


def nested(depth: int) -> dict:
    return {"items": nested(depth - 1)} if depth else {}


BEYOND = {
    "large": ({"description": "é" * 20_000}, "bytes, must be at most 32768"),
    "deep": (nested(32), "deeper than 32 levels"),
    "wide": ({"properties": {str(i): {} for i in range(257)}}, "257 properties, must be at most 256"),
    "wide in parts": ({"anyOf": [{"properties": {f"{i}{j}": {} for j in range(129)}} for i in "ab"]}, "258 properties"),
    "wide by patterns": ({"patternProperties": {f"a{i}": {} for i in range(257)}}, "257 properties"),
    "many values": ({"enum": [*range(1025)]}, "1025 values in enum"),
    "a far reference": ({"properties": {"a": {"$ref": "https://example.org/a.json"}}}, "https://example.org"),
    "a file": ({"$ref": "file:///etc/passwd"}, "only references inside of it"),
    "a long pattern": ({"pattern": "a" * 129}, "a pattern of 129 characters"),
    "a property's long pattern": ({"patternProperties": {"a" * 129: {}}}, "a pattern of 129 characters"),
    "a pattern of many": ({"pattern": "(a{100}){1,100}"}, "up to 10000 repetitions"),
    "a pattern of more": ({"pattern": "a{1,129}"}, "must be at most 128"),
    "a pattern of far more": ({"pattern": "a{10000000000}"}, "must be at most 128"),
    "a reference over many": ({str(i): {"$ref": f"#/{i + 1}"} for i in range(40)}, "more than 32 others"),
    "a reference to itself": ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "leads to itself"),
    "a circle": ({"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}, "leads to itself"),
    "a NUL": ({"pattern": "a\0"}, "control characters"),
    "a long text": ({"minLength": 1001}, "minLength 1001"),
    "a long list": ({"items": {"maxItems": 1e9}}, "maxItems 1000000000.0"),
}


@pytest.mark.parametrize(("schema", "said"), BEYOND.values(), ids=BEYOND)
def test_a_schema_beyond_a_limit_is_refused(schema, said):
    with pytest.raises(ValueError, match=said.replace("$", r"\$")):
        checked_schema(schema)


WITHIN = {
    "empty": {},
    "an object": PERSON,
    "a reference": {"$ref": "#/$defs/a~1b", "$defs": {"a/b": PERSON}},
    "nested": nested(30),
    "properties that are called like keywords": {"properties": {"pattern": {"type": "string"}, "minLength": {}}},
}


@pytest.mark.parametrize("schema", WITHIN.values(), ids=WITHIN)
def test_a_schema_within_them_passes_as_it_is(schema):
    assert checked_schema(schema) is schema


def read(**fields) -> CompletionRequest:
    body = json.dumps({"prompt": "a"} | fields)
    return CompletionRequest.model_validate_json(body, context=GenerationSettings())


def test_the_engine_gets_openais_names():
    body = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    passed = json.loads(read(response_format=body).model_dump_json(exclude_unset=True))
    assert passed["response_format"] == body
    passed = json.loads(read(structured_outputs={"choice": ["yes", "no"]}).model_dump_json(exclude_unset=True))
    assert passed["structured_outputs"] == {"choice": ["yes", "no"]}


WRONG = {
    "no schema": {"response_format": {"type": "json_schema"}},
    "a schema without its type": {
        "response_format": {"type": "json_object", "json_schema": {"name": "a", "schema": {}}}
    },
    "no name": {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
    "a schema beyond a limit": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": nested(40)}}
    },
    "no choice": {"structured_outputs": {"choice": []}},
    "an empty choice": {"structured_outputs": {"choice": [""]}},
    "many choices": {"structured_outputs": {"choice": ["a"] * 257}},
    "a long choice": {"structured_outputs": {"choice": ["a" * 257]}},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_the_field(fields):
    with pytest.raises(ValidationError) as raised:
        read(**fields)
    assert problem(raised.value, CompletionRequest)[1] == next(iter(fields))
