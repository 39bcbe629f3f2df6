"""What a service's OpenAPI document says of the endpoints of a language model that are not BentoML's: requests by the
models that check them, and answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from quantbento.serving.generation.guard import REQUESTS as OPENAI
from quantbento.serving.generation.tokenizing import REQUESTS as TOKENIZING
from quantbento.serving.generation.tokenizing import DetokenizeResponse, TokenizeResponse
from quantbento.serving.openapi_errors import documented_errors
from quantbento.serving.openapi_schema import schemas_of

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_IDS = {"type": "array", "items": _COUNT, "minItems": 1}
_STOPS = {"type": "array", "items": _TEXT}
_PART = {"type": "object", "properties": {"type": {"type": "string", "enum": ["text"]}, "text": _TEXT}}
# Fields whose check is a function: of any type for pydantic.
FREE = {
    ("CompletionRequest", "prompt"): {
        "anyOf": [{**_TEXT, "minLength": 1}, _IDS, {**_STOPS, "minItems": 1}, {"type": "array", "items": _IDS}]
    },
    ("CompletionRequest", "stop"): {"anyOf": [_TEXT, _STOPS], "nullable": True},
    ("ChatRequest", "stop"): {"anyOf": [_TEXT, _STOPS], "nullable": True},
    ("Message", "content"): {"anyOf": [_TEXT, {"type": "array", "items": _PART}], "nullable": True},
    ("DetokenizeRequest", "tokens"): {"type": "array", "items": _COUNT},
}
SUMMARIES = {
    "/v1/completions": "OpenAI's completions: a prompt's continuation, as a whole or as server-sent events.",
    "/v1/chat/completions": "OpenAI's chat completions: the next message, as a whole or as server-sent events.",
    "/tokenize": "A text's token ids, by the model's tokenizer.",
    "/detokenize": "The text of token ids.",
    "/tokenizer_info": "Special tokens and the chat template.",
}


def _answer(said: dict[str, Any]) -> dict[str, Any]:
    """Of completions: `said` is what a choice holds."""
    choice = {"index": _COUNT, "finish_reason": {**_TEXT, "nullable": True}, **said}
    usage = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _COUNT)
    properties = {
        **dict.fromkeys(("id", "object", "model"), _TEXT),
        "created": _COUNT,
        "choices": {"type": "array", "items": {"type": "object", "properties": choice, "required": [*choice]}},
        "usage": {"type": "object", "properties": usage, "required": [*usage]},
    }
    return {"type": "object", "properties": properties, "required": [*properties]}


_MESSAGE = {"role": {"type": "string", "enum": ["assistant"]}, "content": {**_TEXT, "nullable": True}}
ANSWERS: dict[str, Any] = {
    "/v1/completions": _answer({"text": _TEXT}),
    "/v1/chat/completions": _answer({"message": {"type": "object", "properties": _MESSAGE, "required": [*_MESSAGE]}}),
    "/tokenize": TokenizeResponse,
    "/detokenize": DetokenizeResponse,
    "/tokenizer_info": {"type": "object"},
}


def language_model_operations(keys: bool) -> dict[str, Any]:
    """The additions to a document (`quantbento.serving.openapi_additions`).

    Args:
        keys: whether clients need an API key.
    """
    requests = {**OPENAI, **{path: request for path, request in TOKENIZING.items() if request is not None}}
    answers = [answer for answer in ANSWERS.values() if isinstance(answer, type)]
    schemas = schemas_of([*requests.values(), *answers])
    for (name, field), schema in FREE.items():
        schemas[name]["properties"][field] = schema
    errors = documented_errors(requests, keys=keys)["paths"]
    paths = {}
    for path, answer in ANSWERS.items():
        operation = _operation(path, answer)
        if path in requests:
            body = {"required": True, "content": {"application/json": {"schema": _ref(requests[path])}}}
            found = {status: told for status, told in errors[path]["post"]["responses"].items() if told is not None}
            no_model = {**found["400"], "description": "there is no model of this name"}
            operation |= {
                "requestBody": body,
                "responses": {**operation["responses"], **_plain(found), "404": no_model},
            }
        paths[path] = {"post" if path in requests else "get": operation}
    return {"paths": paths, "components": {"schemas": schemas}}


def _operation(path: str, answer: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _ref(answer) if isinstance(answer, type) else answer}}
    if path in OPENAI:
        content["text/event-stream"] = {}  # with `stream: true`
    name = path.strip("/").replace("/", "_")
    responses = {"200": {"description": "Successful response", "content": content}}
    return {"summary": SUMMARIES[path], "operationId": name, "tags": ["Service APIs"], "responses": responses}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _plain(responses: dict[str, Any]) -> dict[str, Any]:
    """Without what only takes something away from BentoML's own document."""
    return {
        status: {**told, "content": {kind: of for kind, of in told["content"].items() if of is not None}}
        for status, told in responses.items()
    }
