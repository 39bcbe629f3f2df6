"""What an answer must look like: JSON, JSON by a schema, or one of some texts.

The engine compiles a schema into a grammar. What is limited here is what that takes: size, depth, properties and
choices, patterns and repetitions. A schema names nothing that would have to be fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from quantbento.serving.generation.body import Body

MAX_BYTES = 32_768
MAX_DEPTH = 32  # of the document: a property of an object is three levels
MAX_PROPERTIES = 256
MAX_CHOICES = 1_024  # in `enum`, `anyOf` and their like, all together
MAX_PATTERN = 128  # characters
MAX_COUNT = 128  # in one `{n,m}` of a pattern; vLLM's compiler fails on more
MAX_REPETITIONS = 1_000  # of all `{n,m}` of a pattern multiplied, of items, of characters
REPEATED = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
LISTS = ("enum", "anyOf", "oneOf", "allOf")
COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def checked_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema within the limits above.

    Raises:
        ValueError: the first of them that it is beyond.
    """
    if (size := len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "surrogatepass"))) > MAX_BYTES:
        raise ValueError(f"a schema of {size} bytes, must be at most {MAX_BYTES}")
    properties = choices = 0
    for node in _objects(schema):
        properties += _length(node.get("properties")) + _length(node.get("patternProperties"))
        choices += sum(_length(node.get(name)) for name in LISTS)
        _check_reference(node, schema)
        for pattern in (node.get("pattern"), *_keys(node.get("patternProperties"))):
            _check_pattern(pattern)
        for name in REPEATED:
            if isinstance(count := node.get(name), int | float) and count > MAX_REPETITIONS:
                raise ValueError(f"{name} {count} in a schema, must be at most {MAX_REPETITIONS}")
    if properties > MAX_PROPERTIES:
        raise ValueError(f"a schema with {properties} properties, must be at most {MAX_PROPERTIES}")
    if choices > MAX_CHOICES:
        raise ValueError(f"a schema with {choices} values in {', '.join(LISTS)}, must be at most {MAX_CHOICES}")
    return schema


Schema = Annotated[dict[str, Any], AfterValidator(checked_schema)]


class JsonSchema(Body):
    model_config = ConfigDict(serialize_by_alias=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: Annotated[str, StringConstraints(max_length=1024)] | None = None
    json_schema: Schema = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _a_schema_where_it_is_meant(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with the type 'json_schema', and with no other")
        return self


class StructuredOutputs(Body):
    """vLLM's `structured_outputs`, of which a list of texts is taken: regular expressions and grammars of a client's
    own are not."""

    choice: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=256)]], Field(min_length=1, max_length=256)
    ]


def _objects(value: Any, depth: int = 1) -> Iterator[dict[str, Any]]:
    """Every object in a document, not too deep."""
    if depth > MAX_DEPTH:
        raise ValueError(f"a schema deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner, depth + 1)


def _check_reference(node: dict[str, Any], schema: dict[str, Any]) -> None:
    for name in ("$ref", "$dynamicRef"):
        if isinstance(target := node.get(name), str) and not target.startswith("#"):
            raise ValueError(f"{name} {target!r:.80} in a schema: only references inside of it, which begin with '#'")
    seen: list[Any] = []
    while isinstance(node, dict) and isinstance(target := node.get("$ref"), str):
        if target in seen or len(seen) == MAX_DEPTH:
            raise ValueError(f"$ref {target!r:.80} in a schema leads to itself, or over more than {MAX_DEPTH} others")
        seen.append(target)
        node = _at(schema, target)


def _at(schema: dict[str, Any], pointer: str) -> Any:
    """What a JSON pointer such as `#/$defs/a` names; None where there is nothing."""
    found: Any = schema
    for part in pointer.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _check_pattern(pattern: Any) -> None:
    if not isinstance(pattern, str):
        return
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern of {len(pattern)} characters in a schema, must be at most {MAX_PATTERN}")
    if not pattern.isprintable():
        raise ValueError("a pattern with control characters in a schema")
    repetitions = 1
    for low, high in COUNT.findall(pattern):
        if (count := int(high or low)) > MAX_COUNT:
            raise ValueError(f"{{{count}}} in a pattern of a schema, must be at most {MAX_COUNT}")
        repetitions *= max(1, count)
    if repetitions > MAX_REPETITIONS:
        raise ValueError(f"a pattern of up to {repetitions} repetitions in a schema, must be at most {MAX_REPETITIONS}")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []
