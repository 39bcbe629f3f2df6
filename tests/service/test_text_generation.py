"""A real `bentoml serve service:TextGeneration`: a random tiny Llama in vLLM, asked over HTTP, killed, ended."""

from __future__ import annotations

import contextlib
import time

import httpx
import openai
import psutil
import pytest

import quantbento
from examples.server import bento, serve
from quantbento import store
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
def offline(home) -> str:
    """The greedy continuation by the offline engine, which has ended when the server starts."""
    with model_store(home):
        generator = quantbento.load(NAME)
        try:
            return generator([PROMPT])[0]["text"]
        finally:
            generator.close()


@pytest.fixture(scope="module")
def server(home, offline, tmp_path_factory):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": NAME}
    environment |= {"QUANTBENTO_MAX_TOKENS": "200"}
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
    for path in ("/tokenize", "/invocations", "/inference/v1/generate", "/scale_elastic_ep"):
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
