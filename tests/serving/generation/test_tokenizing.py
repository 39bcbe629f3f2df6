"""The model's own tokenizer over HTTP, in vLLM's shape."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from quantbento.serving.errors import BodyTooLarge, EngineUnavailable
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.serving.generation.tokenizing import REQUESTS, TokenizingEndpoint
from tests.tiny_llama import TEMPLATE, tokenizer_of

TEXT = "def main(self): return 'grüße'"


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_of(Path(__file__).read_text(encoding="utf-8"))


def client_of(ready_engine, broken_rule=lambda text: None) -> TestClient:
    settings = GenerationSettings(max_characters=100)
    routes = [
        Route(
            path,
            TokenizingEndpoint(path, ready_engine, settings, broken_rule),
            methods=["POST"] if request else ["GET"],
        )
        for path, request in REQUESTS.items()
    ]
    return TestClient(Starlette(routes=routes))


@pytest.fixture(scope="module")
def client(tokenizer) -> TestClient:
    engine = SimpleNamespace(task=SimpleNamespace(tokenizer=tokenizer), every_name=["tiny:1", "tiny"], max_model_len=64)
    return client_of(lambda: engine)


def test_a_text_becomes_its_ids_and_the_ids_the_text(client, tokenizer):
    answer = client.post("/tokenize", json={"prompt": TEXT, "model": "tiny"}).json()
    ids = tokenizer(TEXT)["input_ids"]
    assert answer == {"count": len(ids), "max_model_len": 64, "tokens": ids, "token_strs": None}
    assert client.post("/detokenize", json={"tokens": ids}).json() == {"prompt": TEXT}


def test_what_no_model_may_read_is_not_tokenized(tokenizer):
    engine = SimpleNamespace(task=SimpleNamespace(tokenizer=tokenizer), every_name=["tiny:1"], max_model_len=64)
    client = client_of(lambda: engine, lambda text: "phrases: number 1" if "secret" in text else None)
    answer = client.post("/tokenize", json={"prompt": "a secret"})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "prompt: refused by this service's rule phrases: number 1",
    )
    assert client.post("/tokenize", json={"prompt": "nothing"}).status_code == 200


def test_tokens_are_told_as_the_vocabulary_has_them(client, tokenizer):
    asked = {"prompt": "return 'grüße'", "add_special_tokens": False, "return_token_strs": True}
    answer = client.post("/tokenize", json=asked).json()
    assert answer["token_strs"] == tokenizer.convert_ids_to_tokens(answer["tokens"])


def test_special_tokens_are_put_around_a_text_unless_they_are_not_wanted(client, tokenizer, monkeypatch):
    asked = []

    def recorded(text, **options):
        asked.append(options["add_special_tokens"])
        return {"input_ids": [5]}

    engine = SimpleNamespace(task=SimpleNamespace(tokenizer=recorded), names=["tiny"], max_model_len=None)
    client = client_of(lambda: engine)
    client.post("/tokenize", json={"prompt": "a"})
    client.post("/tokenize", json={"prompt": "a", "add_special_tokens": False})
    assert asked == [True, False]


def test_the_information_is_what_prompts_are_written_with(client):
    info = client.get("/tokenizer_info").json()
    assert (info["bos_token"], info["eos_token"], info["pad_token"]) == ("<s>", "</s>", "</s>")
    assert info["chat_template"] == TEMPLATE
    assert info["tokenizer_class"]
    assert info["model_max_length"] == 64


def test_no_path_of_this_machine_is_told(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    engine = SimpleNamespace(task=SimpleNamespace(tokenizer=read), names=["tiny"], max_model_len=64)
    assert str(tmp_path) not in client_of(lambda: engine).get("/tokenizer_info").text


WRONG = {
    "no text": ("/tokenize", {}, "prompt: Field required"),
    "an empty text": ("/tokenize", {"prompt": ""}, "prompt: String should have at least 1 character"),
    "long": ("/tokenize", {"prompt": "a" * 101}, "101 characters, must be at most 100 (max_characters)"),
    "messages": ("/tokenize", {"prompt": "a", "messages": []}, "messages: not supported here"),
    "a template": ("/tokenize", {"prompt": "a", "chat_template": "{{ 1 }}"}, "chat_template: not supported here"),
    "no ids": ("/detokenize", {"tokens": "5"}, "tokens: must be a list of token ids"),
    "an id below": ("/detokenize", {"tokens": [-1]}, "tokens: token ids must be integers from 0"),
    "an id there is not": ("/detokenize", {"tokens": [5, 384]}, "tokens: 384 is none of this model's"),
    "many ids": ("/detokenize", {"tokens": [5] * 101}, "101 characters, must be at most 100"),
}


@pytest.mark.parametrize(("path", "body", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_a_problem(client, path, body, said):
    response = client.post(path, json=body)
    assert response.status_code == 400
    assert said in response.json()["detail"]
    assert response.headers["content-type"] == "application/problem+json"


def test_another_model_is_404_and_one_that_starts_503(client):
    response = client.post("/tokenize", json={"prompt": "a", "model": "other"})
    assert response.status_code == 404
    assert "`model` may be `tiny:1`, `tiny`" in response.json()["detail"]

    def starting():
        raise EngineUnavailable("the engine is starting")

    response = client_of(starting).get("/tokenizer_info")
    assert (response.status_code, response.json()["detail"]) == (503, "the engine is starting")
    assert response.headers["retry-after"]


def test_a_body_that_is_too_large_and_a_client_that_left_are_no_failures():
    settings, sent = GenerationSettings(), []

    async def send(message):
        sent.append(message)

    async def too_large():
        raise BodyTooLarge("too large")

    async def left():
        return {"type": "http.disconnect"}

    endpoint = TokenizingEndpoint("/tokenize", lambda: None, settings)
    scope = {"type": "http", "method": "POST", "path": "/tokenize", "headers": []}
    for receive in (too_large, left):
        asyncio.run(endpoint(scope, receive, send))
    assert [message["status"] for message in sent if "status" in message] == [413, 499]
