"""Errors in OpenAI's shape, without which its clients show a status code alone."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


def openai_error(status: int, message: str, param: str | None = None) -> JSONResponse:
    """An error as a response; `param` is the field of the request that is wrong."""
    return JSONResponse(openai_body(status, message, param), status_code=status)


def openai_body(status: int, message: str, param: str | None) -> dict[str, Any]:
    """An error's body."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


def is_openais(body: bytes) -> bool:
    """Whether whoever wrote this body knew the shape."""
    try:
        return isinstance(json.loads(body)["error"]["message"], str)
    except (ValueError, LookupError, TypeError):
        return False
