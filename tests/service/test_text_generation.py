"""A real `bentoml serve service:TextGeneration`: a random tiny Llama in vLLM, asked over HTTP, killed, ended."""

from __future__ import annotations

import contextlib
import json
import time

import httpx
import numpy as np
import openai
import psutil
import pytest

import quantbento
from examples.server import bento, serve
from quantbento import store
from quantbento.tasks.text_generation import read_tokenizer
from tests.conftest import ROOT, model_store
from tests.stored_llama import store_llama
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.vllm]
NAME = "tiny-random-llama"
PROMPT = "def main("
START_SECONDS = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store with the model, without a pipeline's work."""
    folder = write_tiny_llama(tmp_path_factory.mktemp("llama"))
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        store_llama(NAME, folder, "vllm", engine={"kv_cache_gib": 0.25, "max_model_len": 1024})
    return home


@pytest.fixture(scope="module")
def judged(home) -> tuple[str, list[int], list[float]]:
    """By the offline engine, which has ended when the server starts: the greedy continuation, the prompt's token ids
    and their log-probabilities from the second on."""
    with model_store(home):
        generator = quantbento.load(NAME)
        try:
            ids = generator.task.text_ids(PROMPT)
            scored = generator.runtime.score(np.asarray([ids]), 1)["token_logprobs"][0]
            return generator([PROMPT])[0]["text"], ids, scored.tolist()
        finally:
            generator.close()


@pytest.fixture(scope="module")
def offline(judged) -> str:
    return judged[0]


@pytest.fixture(scope="module")
def server(home, offline, tmp_path_factory):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": NAME}
    environment |= {"QUANTBENTO_MAX_TOKENS": "200", "QUANTBENTO_TOOL_PARSER": "hermes"}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serve(bento("service:TextGeneration"), environment, log, START_SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def post(server, path: str, **body) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=60)


def test_the_openai_client_gets_the_offline_engines_text_streaming_and_not(client, offline):
    asked = {"model": NAME, "prompt": PROMPT, "max_tokens": 64, "temperature": 0}
    whole = client.completions.create(**asked)
    assert whole.choices[0].text == offline
    pieces = [chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True)]
    assert len(pieces) > 10
    assert "".join(pieces) == offline


def test_generate_gives_the_same_text_with_its_tokens_and_seconds(server, offline):
    answer = post(server, "/generate", prompt=PROMPT, max_tokens=64, temperature=0).json()
    assert answer["text"] == offline
    assert answer["tokens_generated"] == 64
    assert 0 < answer["inference_time"] < 60


def test_chats_go_through_the_models_template_streaming_and_not(client):
    asked = {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    same = client.completions.create(model=NAME, prompt="<s>user: hi\nassistant: ", max_tokens=16, temperature=0)
    assert whole.choices[0].message.content == same.choices[0].text
    pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(pieces) == whole.choices[0].message.content


def test_the_model_is_called_by_its_tag_or_its_name(client, home):
    with model_store(home):
        tag = store.find(NAME).tag
    assert [model.id for model in client.models.list()] == [tag, NAME]
    for name in (tag, NAME):
        assert client.completions.create(model=name, prompt=PROMPT, max_tokens=1).model == tag
    with pytest.raises(openai.NotFoundError, match="`other` does not exist"):
        client.completions.create(model="other", prompt=PROMPT)


def test_who_does_not_say_how_much_gets_no_more_than_the_limit(client):
    messages = [{"role": "user", "content": "hi"}]
    given = client.chat.completions.create(model=NAME, messages=messages, extra_body={"ignore_eos": True})
    assert given.usage.completion_tokens == 200


def test_a_prompts_log_probabilities_are_the_offline_engines(client, judged):
    _, ids, expected = judged
    asked = {"model": NAME, "prompt": [ids, ids], "max_tokens": 0, "temperature": 0, "echo": True, "logprobs": 2}
    for choice in client.completions.create(**asked).choices:
        assert choice.text == PROMPT
        assert choice.logprobs.token_logprobs[0] is None
        assert choice.logprobs.token_logprobs[1:] == pytest.approx(expected, abs=0.05)
        assert len(choice.logprobs.tokens) == len(choice.logprobs.text_offset) == len(ids)
    one_more = client.completions.create(**asked | {"max_tokens": 1}).choices[0].logprobs
    assert len(one_more.token_logprobs) == len(ids) + 1
    assert one_more.token_logprobs[-1] == max(one_more.top_logprobs[-1].values())


def test_the_tokenizer_is_the_models_own(server, judged):
    _, ids, _ = judged
    assert post(server, "/tokenize", prompt=PROMPT).json()["tokens"] == ids
    assert post(server, "/detokenize", tokens=ids).json() == {"prompt": PROMPT}
    assert httpx.get(f"{server.url}/tokenizer_info").json()["eos_token"] == "</s>"
    assert 'endpoint="/tokenize"' in server.metrics()


@pytest.fixture(scope="module")
def no_spaces(home) -> dict[str, int]:
    """A bias for JSON without spaces, with which a random model could go on for ever."""
    with model_store(home):
        tokenizer = read_tokenizer(store.find(NAME).path)
    return {str(i): -100 for i in range(len(tokenizer)) if not tokenizer.decode([i]).strip()}


NUMBER = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
ONE_CHAT = {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "temperature": 0}


def test_answers_follow_a_schema_or_are_one_of_some_texts(client, no_spaces):
    schema = {"type": "json_schema", "json_schema": {"name": "number", "schema": NUMBER, "strict": True}}
    answer = client.chat.completions.create(**ONE_CHAT, response_format=schema, logit_bias=no_spaces)
    assert json.loads(answer.choices[0].message.content) in ({"n": 1}, {"n": 2})
    choice = {"structured_outputs": {"choice": ["yes", "no"]}}
    answer = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=20, extra_body=choice)
    assert answer.choices[0].text in ("yes", "no")


def test_a_tool_is_called_and_its_answer_taken(client, no_spaces):
    tool = {"type": "function", "function": {"name": "count", "parameters": NUMBER, "strict": True}}
    asked = ONE_CHAT | {"tools": [tool], "logit_bias": no_spaces}
    count = {"type": "function", "function": {"name": "count"}}
    message = client.chat.completions.create(**asked, tool_choice=count).choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "count"
    assert json.loads(call.function.arguments) in ({"n": 1}, {"n": 2})
    answer = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    again = client.chat.completions.create(**asked | {"messages": [*ONE_CHAT["messages"], message, answer]})
    assert again.usage.prompt_tokens > 20


WRONG = {
    "empty prompt": ("/generate", {"prompt": ""}, "at least 1 character"),
    "blank prompt": ("/generate", {"prompt": "  "}, "must not be empty"),
    "too many tokens": ("/generate", {"prompt": "a", "max_tokens": 201}, "less than or equal to 200"),
    "longer than the model": ("/generate", {"prompt": "a b " * 1500, "max_tokens": 1}, "1024"),
    "OpenAI: empty prompt": ("/v1/completions", {"prompt": ""}, "must not be empty"),
    "OpenAI: too many tokens": ("/v1/completions", {"prompt": "a", "max_tokens": 201}, "at most 200 (max_tokens)"),
    "OpenAI: longer than the model": ("/v1/completions", {"prompt": "a b " * 1500}, "1024"),
    "OpenAI: a token there is not": ("/v1/completions", {"prompt": [10**6]}, "out of vocabulary"),
    "OpenAI: a bias there is not": ("/v1/completions", {"prompt": "a", "logit_bias": {"99999": 1}}, "vocab"),
    "OpenAI: no new token": ("/v1/completions", {"prompt": "a", "max_tokens": 0}, "nothing without echo"),
    "OpenAI: a schema": (
        "/v1/completions",
        {
            "prompt": "a",
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "b"}}},
        },
        "Invalid type",
    ),
    "OpenAI: template": ("/v1/chat/completions", {"messages": [], "chat_template": "{{ 1 }}"}, "messages"),
}


@pytest.mark.parametrize(("path", "body", "said"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_400_and_says_why(server, path, body, said):
    response = post(server, path, **body)
    assert response.status_code == 400
    assert said in response.text
    if path.startswith("/v1/"):
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/docs.json"])
def test_bentomls_own_endpoints_answer(server, path):
    assert httpx.get(server.url + path).status_code == 200


def test_vllms_endpoints_that_no_client_should_reach_are_not_there(server):
    for path in ("/v1/responses", "/invocations", "/inference/v1/generate", "/scale_elastic_ep"):
        assert post(server, path).status_code == 404


def test_vllms_metrics_are_among_bentomls(server):
    post(server, "/v1/completions", prompt=PROMPT, max_tokens=1)
    metrics = server.metrics()
    assert "vllm:generation_tokens_total" in metrics
    assert 'bentoml_service_request_total{endpoint="/v1/completions",http_response_code="200"' in metrics


def test_a_client_that_leaves_stops_its_generation(server):
    before = counted(server, "generation_tokens_total")
    body = {"prompt": PROMPT, "max_tokens": 900, "ignore_eos": True, "n": 8, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as left:
        next(left.iter_lines())
    until(lambda: counted(server, "num_requests_running") == 0, 30)
    assert counted(server, "generation_tokens_total") - before < 8 * 900


def test_a_killed_engine_turns_readiness_to_503_and_comes_back(server, client, offline):
    [engine] = [p for p in descendants(server) if p.name().startswith("VLLM::Engine")]
    engine.kill()
    until(lambda: readiness(server) == 503, 10)
    with pytest.raises(openai.InternalServerError, match="the engine is starting"):
        client.completions.create(model=NAME, prompt=PROMPT)
    assert post(server, "/generate", prompt=PROMPT).status_code == 503
    until(lambda: readiness(server) == 200, START_SECONDS)
    again = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=64, temperature=0)
    assert again.choices[0].text == offline


def test_no_process_outlives_the_service(server):
    processes = descendants(server)
    assert any(p.name().startswith("VLLM::") for p in processes)
    server.process.terminate()
    server.process.wait(60)
    assert psutil.wait_procs(processes, timeout=20)[1] == []


def descendants(server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def readiness(server) -> int:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{server.url}/readyz", timeout=5).status_code
    return 0


def counted(server, metric: str) -> float:
    lines = [line for line in server.metrics().splitlines() if line.startswith(f"vllm:{metric}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
