"""What an endpoint returns: a list of answers, rendered once, with a failed one failing its own request alone.

BentoML would build the response's JSON schema anew for every response, and dump its values twice: together two
fifths of the server's work for an embedding. A declared content type and a serializer that renders avoid both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import orjson
from bentoml.validators import ContentType
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from quantbento.serving.errors import ItemFailed, NotAcceptable
from quantbento.serving.numpy_bodies import wants_numpy
from quantbento.serving.numpy_files import bytes_of


class Failed:
    """Stands in a batch's answers for one that has none, so that the others' requests are answered."""

    def __init__(self, error: Exception) -> None:
        self.error = error


@attrs.frozen
class Answers(ContentType):
    """`Annotated[list[Any], Answers(schema)]` is the return type of an endpoint that gives one answer per input.

    Attributes:
        item_schema: gives one answer's JSON schema; asked when the service's OpenAPI document is.
    """

    item_schema: Callable[[], dict[str, Any]]
    content_type: str = "application/json"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        rendered = core_schema.plain_serializer_function_ser_schema(_render)
        return core_schema.no_info_after_validator_function(_checked, handler(source), serialization=rendered)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "array", "items": self.item_schema()}


def _checked(answers: list[Any]) -> list[Any] | bytes:
    """Runs for each request on its own share of a batch. Errors can be raised here, and not where it is rendered."""
    without_failed(answers)
    if not wants_numpy():
        return answers
    try:
        return bytes_of(answers)
    except ValueError as error:
        raise NotAcceptable(f"the answers cannot be one NumPy file: {error}. Ask for application/json") from None


def without_failed(answers: list[Any]) -> list[Any]:
    """The answers.

    Raises:
        ItemFailed: one of them is a `Failed`.
    """
    for index, answer in enumerate(answers):
        if isinstance(answer, Failed):
            reason = f"{type(answer.error).__name__}: {answer.error}"
            raise ItemFailed(f"item {index}: the model failed on it: {reason}")
    return answers


def rendered(answer: Any) -> bytes:
    """What an endpoint returned, as a body: in JSON, or a list of answers as a NumPy file where that was asked for.

    Raises:
        ItemFailed: one of the answers is a `Failed`.
        NotAcceptable: the answers cannot be one NumPy file.
    """
    return _render(_checked(answer) if isinstance(answer, list) else answer)


def _render(answers: Any) -> bytes:
    return answers if isinstance(answers, bytes) else as_json(answers)


def as_json(value: Any) -> bytes:
    """JSON of a value with NumPy arrays and numbers in it, of any shape and order."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_listed)


def _listed(value: Any) -> Any:
    """What orjson itself does not take: an array without axes or in another order, a number of C's `long long`."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise TypeError
