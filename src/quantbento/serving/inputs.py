"""What an endpoint takes: a list of inputs, checked before it meets another request's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Inputs:
    """`Annotated[list[str], Inputs(...)]` is the type of a list of texts, `Annotated[list[Any], Inputs(...)]` of a
    list of whatever the model takes.

    The check stands at the list, not at its items: BentoML applies an item's annotations twice.

    Attributes:
        max_items: in a request.
        max_characters: of one text.
        check: makes of the inputs what the endpoint gets; its `ValueError` is a 400 that names the field.
        item_schema: gives the JSON schema of an input that is no text; asked when the service's OpenAPI document is.
        example: gives what Swagger shows as a request to try; None where nothing is known to fit.
    """

    max_items: int
    max_characters: int
    check: Callable[[list[Any]], list[Any]]
    item_schema: Callable[[], dict[str, Any]]
    example: Callable[[], list[Any] | None]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        [item] = get_args(source)
        if item is str:
            item = Annotated[str, Field(min_length=1, max_length=self.max_characters)]
        # mypy takes the computed item for a type of the module's.
        limited: Any = Annotated[list[item], Field(min_length=1, max_length=self.max_items)]  # type: ignore[valid-type]
        return core_schema.no_info_after_validator_function(self.check, handler.generate_schema(limited))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        if not described["items"]:
            described["items"] = self.item_schema()
        # OpenAPI 3.0, which BentoML writes, has no `examples` in a schema; Swagger shows `example`.
        if (example := self.example()) is not None:
            described["example"] = example
        return described
