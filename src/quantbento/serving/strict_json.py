"""JSON bodies that mean one thing: no field that the endpoint does not have, and no key twice.

BentoML ignores fields it does not know, so a misspelt one has no effect, in silence.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import ConfigDict
from starlette.requests import Request

from quantbento.serving.errors import InvalidJson


def parse_json(body: bytes) -> Any:
    """What a body holds; an empty one is an object without fields.

    Raises:
        InvalidJson: 400, it is not JSON, or has an object with a key twice.
    """
    import jiter

    try:
        return jiter.from_json(body or b"{}", catch_duplicate_keys=True)
    except ValueError as error:
        raise InvalidJson(f"the body is not valid JSON: {error}") from None


def strict(spec: Any, without_effect: Collection[str] = ()) -> Any:
    """An endpoint's `input_spec` that reads its requests so. Fields `without_effect` may be sent: clients of another
    API send them always."""

    class Input(spec):  # type: ignore[misc]
        model_config = ConfigDict(extra="forbid")

        @classmethod
        async def from_http_request(cls, request: Request, serde: Any) -> Any:
            given = parse_json(await request.body())
            if without_effect and isinstance(given, dict):
                given = {name: value for name, value in given.items() if name not in without_effect}
            return cls.model_validate(given)

    Input.__name__ = Input.__qualname__ = spec.__name__
    return Input
