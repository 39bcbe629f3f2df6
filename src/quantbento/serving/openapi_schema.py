"""Schemas of pydantic's models as OpenAPI 3.0 has them, which BentoML writes. Pydantic writes JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
NULL = {"type": "null"}
UNKNOWN = {"const", "title", "propertyNames", *LIMITS}  # left out, or said otherwise


def schemas_of(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The schemas of models and of all that they hold, by name, for `components.schemas`. Names are to be different."""
    wanted = [(model, "validation") for model in models]
    _, found = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return {name: converted(schema) for name, schema in found["$defs"].items()}


def converted(schema: Any) -> Any:
    """A schema of JSON Schema 2020-12 as one of OpenAPI 3.0: `nullable` for null, `enum` for `const`, and limits that
    exclude their value as booleans beside the value. Defaults of null are left out: leaving a field out means the
    same."""
    if isinstance(schema, list):
        return [converted(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _part(key, value) for key, value in schema.items() if key not in UNKNOWN}
    if found.get("default", 0) is None:
        del found["default"]
    if "const" in schema:
        found["enum"] = [schema["const"]]
    for exclusive, limit in LIMITS.items():
        if exclusive in schema:
            found |= {limit: schema[exclusive], exclusive: True}
    if schema.get("type") == "null":
        del found["type"]
        found |= {"nullable": True, "enum": [None]}
    if NULL in schema.get("anyOf", ()):
        others = [converted(each) for each in schema["anyOf"] if each != NULL]
        del found["anyOf"]
        # A reference has no neighbours in OpenAPI 3.0.
        alone = len(others) == 1 and "$ref" not in others[0]
        found = {**found, **(others[0] if alone else {"anyOf": others}), "nullable": True}
    return found


def _part(key: str, value: Any) -> Any:
    if key in ("properties", "patternProperties"):  # by names of fields, which may be words of a schema
        return {name: converted(schema) for name, schema in value.items()}
    return value if key in ("enum", "default", "example", "examples", "required") else converted(value)
