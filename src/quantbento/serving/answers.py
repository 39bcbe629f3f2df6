"""What an endpoint returns: a list of answers, rendered once, with a failed one failing its own request alone.

BentoML would build the response's JSON schema anew for every response, and dump its values twice: together two
fifths of the server's work for an embedding. A declared content type and a serializer that renders avoid both.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from bentoml.validators import ContentType
from pydantic import AfterValidator, PlainSerializer, WithJsonSchema

from quantbento.serving.errors import ItemFailed


class Failed:
    """Stands in a batch's answers for one that has none, so that the others' requests are answered."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def answers_of(item_schema: dict[str, Any]) -> Any:
    """The return type of an endpoint that gives one answer an input; `item_schema` is one answer's JSON schema."""
    schema = {"type": "array", "items": item_schema}
    return Annotated[
        list[Any],
        AfterValidator(_raise_failed),
        PlainSerializer(_render),
        WithJsonSchema(schema),
        ContentType("application/json"),
    ]


def _raise_failed(answers: list[Any]) -> list[Any]:
    """Runs for each request on its own share of a batch."""
    for index, answer in enumerate(answers):
        if isinstance(answer, Failed):
            reason = f"{type(answer.error).__name__}: {answer.error}"
            raise ItemFailed(f"item {index}: the model failed on it: {reason}")
    return answers


def _render(answers: list[Any]) -> bytes:
    return orjson.dumps(answers, option=orjson.OPT_SERIALIZE_NUMPY)
