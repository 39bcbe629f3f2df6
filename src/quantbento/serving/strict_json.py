"""JSON bodies that mean one thing: no field that the endpoint does not have, no key twice, no NaN.

BentoML ignores fields it does not know, so a misspelt one has no effect, in silence.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from starlette.requests import Request

from quantbento.serving.errors import InvalidJson


def parse_json(body: bytes) -> Any:
    """What a body holds; an empty one is an object without fields.

    Raises:
        InvalidJson: 400, it is not JSON, holds NaN or infinity, or an object with a key twice.
    """
    import jiter

    try:
        return jiter.from_json(body or b"{}", allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise InvalidJson(f"the body is not valid JSON: {error}") from None


def strict(spec: Any) -> Any:
    """An endpoint's `input_spec` that reads its requests so."""

    class Input(spec):  # type: ignore[misc]
        model_config = ConfigDict(extra="forbid")

        @classmethod
        async def from_http_request(cls, request: Request, serde: Any) -> Any:
            return cls.model_validate(parse_json(await request.body()))

    Input.__name__ = Input.__qualname__ = spec.__name__
    return Input
