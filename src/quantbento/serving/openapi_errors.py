"""What an OpenAPI document says of errors: the shapes that `quantbento.serving.problems` sends.

BentoML's own document says what its services answer without this project's middleware.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from quantbento.serving.problems import MEDIA_TYPE, OPENAIS

TOLD = {
    400: "a field of the request, or the body, is wrong",
    401: "without a valid API key",
    406: "the answers do not exist in the form that `Accept` asks for",
    413: "the body is too large",
    415: "a body of this kind is not taken",
    422: "the model failed on an input",
    429: "too many requests are under way; `Retry-After` says when to come back",
    500: "the service failed",
    503: "the answer would be late, or the model is not ready; `Retry-After` says when to come back",
    504: "not answered in time",
}
WITH_KEYS, WITH_ARRAYS = 401, 406
NAMES_A_MODEL = "/generate"  # its requests may name a model: this one, or an adapter of it
BENTOMLS = ("InvalidArgument", "NotFound", "InternalServerError")  # schemas of errors that nobody gets

_TEXT = {"type": "string"}
_FIELD = {
    "type": "object",
    "properties": {
        "loc": {"type": "array", "items": {"anyOf": [_TEXT, {"type": "integer"}]}},
        "msg": _TEXT,
        "type": _TEXT,
    },
    "required": ["loc", "msg", "type"],
}
SCHEMAS: dict[str, Any] = {
    "Problem": {
        "description": "RFC 9457",
        "type": "object",
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "errors": {"type": "array", "items": _FIELD},
            "request_id": _TEXT,
        },
        "required": ["type", "title", "status", "detail"],
    },
    "OpenAIError": {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": {"type": "string", "nullable": True},
                    "code": {"type": "string", "nullable": True},
                },
                "required": ["message", "type", "param", "code"],
            }
        },
        "required": ["error"],
    },
}


def documented_errors(routes: Collection[str], arrays: str | None = None, keys: bool = False) -> dict[str, Any]:
    """The additions to a document for endpoints at these routes.

    Args:
        routes: the endpoints.
        arrays: the route of the endpoint that also answers with NumPy files.
        keys: whether clients need an API key.
    """
    document: dict[str, Any] = {
        "paths": {route: {"post": {"responses": _responses(route, route == arrays, keys)}} for route in routes},
        "components": {"schemas": SCHEMAS | dict.fromkeys(BENTOMLS)},
    }
    if keys:
        document["components"]["securitySchemes"] = {"ApiKey": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"ApiKey": []}]
    return document


def _responses(route: str, arrays: bool, keys: bool) -> dict[str, Any]:
    openais = route.startswith(OPENAIS)
    schema = {"schema": {"$ref": f"#/components/schemas/{'OpenAIError' if openais else 'Problem'}"}}
    content: dict[str, Any] = {"application/json" if openais else MEDIA_TYPE.decode(): schema}
    left_out = {WITH_KEYS: not keys, WITH_ARRAYS: not arrays}
    given = {status: told for status, told in TOLD.items() if not left_out.get(status)}
    found: dict[str, Any] = {str(s): {"description": told, "content": content} for s, told in given.items()}
    # None takes away what BentoML says: schemas of another shape, and a 404 that no endpoint answers.
    for status in ("400", "500") if not openais else ():
        found[status] = found[status] | {"content": {"application/json": None} | content}
    if route == NAMES_A_MODEL:
        no_model = {"application/json": None} | content
        return found | {"404": {"description": "there is no model of this name", "content": no_model}}
    return found | {"404": None}
