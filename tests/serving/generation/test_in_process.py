"""A language model in the service's process: OpenAI's answers, whole and in pieces, one text at a time."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time

import httpx
import pytest
from starlette.testclient import TestClient

import quantbento
from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.language_model import Sampling
from quantbento.serving.generation import model as generation_model
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.settings import GenerationSettings
from tests.conftest import model_store
from tests.stored_llama import store_llama
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.slow
NAME, PROMPT = "tiny", "def main("
CHAT = [{"role": "user", "content": "hi"}]
ASKED = {"prompt": PROMPT, "max_tokens": 24, "temperature": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = write_tiny_llama(tmp_path_factory.mktemp("llama"))
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        store_llama(NAME, folder, "transformers")
        yield home


@pytest.fixture(scope="module")
def offline(home) -> quantbento.runtimes.text_generator.TextGenerator:
    return quantbento.load(NAME)


@pytest.fixture(scope="module")
def server(home) -> ServedLanguageModel:
    return ServedLanguageModel(GenerationSettings(max_tokens=200, max_prompts=3), NAME)


@pytest.fixture(scope="module")
def client(server):
    with TestClient(server.app) as client:
        until(lambda: server.ready)
        yield client


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def complete(client, **body) -> dict:
    response = client.post("/v1/completions", json=ASKED | body)
    assert response.status_code == 200, response.text
    return response.json()


def events(client, path: str, **body) -> list[dict]:
    """The chunks of a stream, which ends as OpenAI's do."""
    response = client.post(path, json={"stream": True, **body})
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, last, rest = response.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    return [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]


def test_a_completion_is_what_the_loaded_artifact_says(client, offline):
    [expected] = offline([PROMPT], Sampling(max_tokens=24))
    answer = complete(client, model=NAME)
    prompt = len(offline.task.text_ids(PROMPT))
    [choice] = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == (expected["text"], expected["finish_reason"])
    made = expected["tokens_generated"]
    assert answer["usage"] == {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
    assert (answer["object"], answer["model"]) == ("text_completion", store.find(NAME).tag)


def test_a_streams_pieces_are_the_whole_text(client):
    whole = complete(client)
    chunks = events(client, "/v1/completions", **ASKED, stream_options={"include_usage": True})
    *pieces, last = chunks
    assert len(pieces) > 5
    assert "".join(chunk["choices"][0]["text"] for chunk in pieces) == whole["choices"][0]["text"]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in pieces]
    assert reasons == [None] * (len(pieces) - 1) + [whole["choices"][0]["finish_reason"]]
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_chats_go_through_the_template_whole_and_in_pieces(client):
    asked = {"messages": CHAT, "max_tokens": 16, "temperature": 0}
    whole = client.post("/v1/chat/completions", json=asked).json()
    expected = complete(client, prompt="<s>user: hi\nassistant: ", max_tokens=16)["choices"][0]["text"]
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": expected}
    first, *pieces = events(client, "/v1/chat/completions", **asked)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in pieces) == expected
    assert {first["object"]} == {chunk["object"] for chunk in pieces} == {"chat.completion.chunk"}


def test_prompts_and_choices_of_one_request_are_told_apart(client):
    answer = complete(client, prompt=[PROMPT, "class"], n=2, temperature=1, seed=5)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert len({choice["text"] for choice in answer["choices"]}) == 4
    again = complete(client, prompt="class", temperature=1, seed=5)
    assert again["choices"][0]["text"] == answer["choices"][2]["text"]
    chunks = events(client, "/v1/completions", **ASKED | {"prompt": [PROMPT, "class"]})
    for index, prompt in enumerate([PROMPT, "class"]):
        text = "".join(c["choices"][0]["text"] for c in chunks if c["choices"][0]["index"] == index)
        assert text == complete(client, prompt=prompt)["choices"][0]["text"]


def test_token_ids_and_stop_strings_are_taken(client, offline):
    whole = complete(client)["choices"][0]["text"]
    stop = whole[5:7]
    answer = complete(client, prompt=offline.task.text_ids(PROMPT), stop=stop)["choices"][0]
    assert (answer["text"], answer["finish_reason"]) == (whole[: whole.index(stop)], "stop")


def test_who_does_not_say_how_much_gets_openais_default_or_what_the_model_has_room_for(client):
    asked = {"ignore_eos": True, "temperature": 0}
    completion = client.post("/v1/completions", json={"prompt": PROMPT, **asked}).json()
    assert completion["usage"]["completion_tokens"] == 16
    full = client.post("/v1/completions", json={"prompt": [5] * 1020, **asked}).json()
    assert full["usage"]["total_tokens"] == 1024
    chat = client.post("/v1/chat/completions", json={"messages": CHAT, **asked}).json()
    assert chat["usage"]["completion_tokens"] == 200


WRONG = {
    "log-probabilities in a stream": ({"logprobs": 0, "stream": True}, "logprobs"),
    "a penalty": ({"presence_penalty": 0.5}, "presence_penalty"),
    "JSON": ({"response_format": {"type": "json_object"}}, "response_format"),
    "echo in a stream": ({"echo": True, "stream": True}, "echo"),
    "log-probabilities of tokens there are not": ({"prompt": [384], "echo": True, "logprobs": 1}, "prompt"),
    "nothing": ({"max_tokens": 0}, "echo"),
    "stream options without a stream": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "over a limit": ({"max_tokens": 201}, "max_tokens"),
    "empty prompt": ({"prompt": ""}, "prompt"),
    "blank prompt": ({"prompt": " "}, "prompt"),
    "longer than the model": ({"prompt": [5] * 1024}, "prompt"),
    "longer than the model, streaming": ({"prompt": [5] * 1024, "stream": True}, "prompt"),
    "a token there is not": ({"prompt": [384]}, "prompt"),
}


@pytest.mark.parametrize(("body", "field"), WRONG.values(), ids=WRONG)
def test_what_the_runtime_cannot_do_is_400_with_the_field(client, body, field):
    response = client.post("/v1/completions", json=ASKED | body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field


def test_what_clients_send_without_wanting_it_is_taken(client):
    complete(client, max_tokens=1, presence_penalty=0, top_k=-1, n=1, logit_bias={}, response_format={"type": "text"})


def test_another_models_name_is_404_and_its_own_are_listed(client):
    assert client.post("/v1/completions", json=ASKED | {"model": "other"}).status_code == 404
    cards = client.get("/v1/models").json()["data"]
    assert [card["id"] for card in cards] == [store.find(NAME).tag, NAME]
    assert cards[0]["max_model_len"] == 1024


def test_a_model_that_fails_is_500_and_answers_the_next(client, server, monkeypatch):
    def broken(prompt, sampling):
        raise QuantbentoError("NaN")
        yield

    with monkeypatch.context() as broken_model:
        broken_model.setattr(server.ready_engine().loaded.runtime, "stream", broken)
        for stream in (False, True):
            response = client.post("/v1/completions", json=ASKED | {"stream": stream})
            assert (response.status_code, response.json()["error"]["message"]) == (500, "NaN")
    assert complete(client)["choices"][0]["text"]


def test_a_model_that_fails_half_way_ends_the_stream_with_the_error(client, server, monkeypatch):
    def breaking(prompt, sampling):
        yield "a"
        raise QuantbentoError("NaN")

    monkeypatch.setattr(server.ready_engine().loaded.runtime, "stream", breaking)
    first, last = events(client, "/v1/completions", **ASKED)
    assert first["choices"][0]["text"] == "a"
    assert last["error"]["message"] == "NaN"


def lasting(closed: threading.Event):
    """A model that goes on for half a minute."""

    def stream(prompt, sampling):
        try:
            for _ in range(3000):
                time.sleep(0.01)
                yield "a"
        finally:
            closed.set()

    return stream


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
def test_a_client_that_leaves_stops_the_model_and_lets_the_next_in(client, server, monkeypatch, stream):
    closed, sent = threading.Event(), []
    body = json.dumps(ASKED | {"stream": stream}).encode()
    messages = iter([{"type": "http.request", "body": body}])

    async def ask() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        original = lasting(closed)

        def stream_and_tell(prompt, sampling):
            for piece in original(prompt, sampling):
                loop.call_soon_threadsafe(begun.set)
                yield piece

        monkeypatch.setattr(server.ready_engine().loaded.runtime, "stream", stream_and_tell)

        async def receive():
            if message := next(messages, None):
                return message
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
        await server._answer(scope, receive, send)
        assert await asyncio.to_thread(closed.wait, 10)

    asyncio.run(ask())
    if not stream:
        assert sent[0]["status"] == 499
    monkeypatch.undo()
    assert complete(client)["choices"][0]["text"]


def test_requests_at_once_run_one_after_the_other(client, server, monkeypatch):
    prompts, running, most = ["class", "import os", "for i in"], set(), []
    alone = [complete(client, prompt=prompt)["choices"][0]["text"] for prompt in prompts]
    stream = server.ready_engine().loaded.runtime.stream

    def counted(prompt, sampling):
        running.add(tuple(prompt))
        most.append(len(running))
        generated = yield from stream(prompt, sampling)
        running.remove(tuple(prompt))
        return generated

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
            return await asyncio.gather(*(http.post("/v1/completions", json=ASKED | {"prompt": p}) for p in prompts))

    monkeypatch.setattr(server.ready_engine().loaded.runtime, "stream", counted)
    assert [answer.json()["choices"][0]["text"] for answer in asyncio.run(ask())] == alone
    assert most == [1, 1, 1]


def test_what_does_not_load_ends_the_process_with_a_line(home, monkeypatch, caplog):
    ended = []

    def fail(self, threads, device):
        raise QuantbentoError("no weights")

    monkeypatch.setattr(generation_model.os, "kill", lambda *arguments: ended.append(arguments))
    monkeypatch.setattr(store.StoredModel, "load", fail)
    server = ServedLanguageModel(GenerationSettings(), NAME)
    with caplog.at_level("ERROR", "bentoml.serve"), TestClient(server.app) as client:
        until(lambda: ended)
        assert not server.ready
        assert client.get("/v1/models").status_code == 503
    assert ended == [(os.getpid(), generation_model.signal.SIGTERM)]
    assert f"{NAME} cannot be served: no weights" in caplog.text
