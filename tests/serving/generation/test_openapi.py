"""The document's operations: valid OpenAPI, of every endpoint, with the fields that are checked."""

from __future__ import annotations

import json
import re

import pytest

from quantbento.serving.generation.model import PATHS
from quantbento.serving.generation.openapi import FREE, language_model_operations
from quantbento.serving.generation.requests import ChatRequest, CompletionRequest


@pytest.fixture(scope="module")
def document():
    return language_model_operations(keys=False)


def test_every_endpoint_is_there_and_every_reference_resolves(document):
    assert {*document["paths"]} == {*PATHS} - {"/v1/models"}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references <= document["components"]["schemas"].keys() | {"OpenAIError", "Problem"}
    assert not {"null", "const", "$defs"} & set(re.findall(r'"([$\w]+)"', json.dumps(document["paths"])))
    assert '"null"' not in json.dumps(document)


def test_fields_are_those_that_are_checked(document):
    schemas = document["components"]["schemas"]
    for request in (CompletionRequest, ChatRequest):
        assert schemas[request.__name__]["properties"].keys() == request.model_fields.keys()
        assert schemas[request.__name__]["additionalProperties"] is False
    untyped = {
        (name, field)
        for name, schema in schemas.items()
        for field, of in schema.get("properties", {}).items()
        if not {"type", "anyOf", "$ref", "enum"} & of.keys()
    }
    assert untyped == set()
    assert schemas["CompletionRequest"]["properties"]["prompt"] == FREE["CompletionRequest", "prompt"]


def test_errors_are_of_the_shape_that_is_answered(document):
    chat = document["paths"]["/v1/chat/completions"]["post"]
    assert {"200", "400", "404", "413", "503"} <= chat["responses"].keys()
    assert "401" not in chat["responses"]
    assert chat["responses"]["404"]["content"]["application/json"]["schema"]["$ref"].endswith("/OpenAIError")
    assert chat["responses"]["200"]["content"].keys() == {"application/json", "text/event-stream"}
    problem = document["paths"]["/tokenize"]["post"]["responses"]["400"]["content"]
    assert problem == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    keyed = language_model_operations(keys=True)["paths"]
    assert all("401" in of["post"]["responses"] for of in keyed.values() if "post" in of)
