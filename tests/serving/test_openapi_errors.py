"""The document names the errors that are sent, in their shapes, and no other."""

from __future__ import annotations

import json

import jsonschema
import pytest

from quantbento.serving.errors import ItemFailed
from quantbento.serving.openapi_additions import _merged
from quantbento.serving.openapi_errors import SCHEMAS, documented_errors
from quantbento.serving.problems import Problem

BENTOMLS = {"application/json": {"schema": {"$ref": "#/components/schemas/InvalidArgument"}}}
DOCUMENT = {
    "paths": {
        route: {"post": {"responses": {"200": {}, **{s: {"content": BENTOMLS} for s in ("400", "404", "500")}}}}
        for route in ("/predict", "/v1/embeddings")
    },
    "components": {"schemas": {"Input": {"default": None}, "InvalidArgument": {}, "NotFound": {}}},
}


def responses(route: str, **given) -> dict[str, list[str]]:
    """The media types of each status of a route."""
    document = _merged(DOCUMENT, documented_errors(DOCUMENT["paths"], **given))
    return {s: list(r.get("content", {})) for s, r in document["paths"][route]["post"]["responses"].items()}


def test_errors_are_problems_and_under_v1_openais():
    common = {"400", "413", "415", "422", "429", "500", "503", "504"}
    assert responses("/predict") == {"200": [], **{s: ["application/problem+json"] for s in common}}
    assert responses("/v1/embeddings") == {"200": [], **{s: ["application/json"] for s in common}}


def test_statuses_of_settings_and_arrays_are_there_only_with_them():
    assert "401" in responses("/predict", keys=True)
    assert "406" in responses("/predict", arrays="/predict")
    assert "406" not in responses("/v1/embeddings", arrays="/predict")


def test_schemas_of_errors_that_nobody_gets_are_gone_and_others_stay():
    merged = _merged(DOCUMENT, documented_errors(DOCUMENT["paths"]))
    assert merged["components"]["schemas"].keys() == {"Input", "Problem", "OpenAIError"}
    assert merged["components"]["schemas"]["Input"] == {"default": None}


def test_clients_that_need_a_key_are_told_in_the_document():
    document = documented_errors(["/predict"], keys=True)
    [name] = document["components"]["securitySchemes"]
    assert document["security"] == [{name: []}]
    assert "security" not in documented_errors(["/predict"])


@pytest.mark.parametrize(("path", "schema"), [("/predict", "Problem"), ("/v1/embeddings", "OpenAIError")])
def test_what_is_sent_fits_its_schema(path, schema):
    field = {"loc": ["body", 0], "msg": "wrong", "type": "value_error"}
    # OpenAPI 3.0 says `nullable`; JSON Schema has a list of types.
    text = json.dumps(SCHEMAS[schema]).replace('"type": "string", "nullable": true', '"type": ["string", "null"]')
    for problem in (Problem(400, "wrong", [field]), Problem.of(ItemFailed("no"))):
        jsonschema.validate(json.loads(problem.body(path)), json.loads(text))
