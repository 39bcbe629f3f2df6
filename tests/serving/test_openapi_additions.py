"""The OpenAPI document is what BentoML writes, with what it does not know."""

from __future__ import annotations

import asyncio
import json

from quantbento.serving.openapi_additions import OpenAPIAdditions, request_examples

DOCUMENT = {"openapi": "3.0.2", "paths": {"/predict": {"post": {"description": "Outputs.", "responses": {"200": {}}}}}}
ADDITIONS = {"paths": {"/predict": {"post": {"description": "And files.", "responses": {"200": {"content": 1}}}}}}


def answered(path: str, status: int = 200) -> tuple[dict, object]:
    """The headers and the body of what a client gets."""

    async def app(scope, receive, send):
        body = json.dumps(DOCUMENT).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body[:20], "more_body": True})
        await send({"type": "http.response.body", "body": body[20:]})

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("a document is asked for without a body")

    asyncio.run(OpenAPIAdditions(app, [ADDITIONS])({"type": "http", "path": path}, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    headers = dict(sent[0]["headers"])
    assert int(headers[b"content-length"]) == len(body)
    return headers, json.loads(body)


def test_additions_are_merged_into_the_document():
    headers, document = answered("/docs.json")
    assert headers[b"content-type"] == b"application/json"
    assert document["openapi"] == "3.0.2"
    post = document["paths"]["/predict"]["post"]
    assert post == {"description": "Outputs.\n\nAnd files.", "responses": {"200": {"content": 1}}}


def test_everything_else_is_left_alone():
    assert answered("/predict")[1] == DOCUMENT
    assert answered("/docs.json", status=404)[1] == DOCUMENT


def test_examples_of_a_request_stand_at_its_body():
    added = request_examples("/rank", {"one": {"texts": ["a"]}, "other": {"texts": []}})
    body = added["paths"]["/rank"]["post"]["requestBody"]["content"]["application/json"]
    assert body == {"examples": {"one": {"value": {"texts": ["a"]}}, "other": {"value": {"texts": []}}}}
