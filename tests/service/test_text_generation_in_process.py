"""A real `bentoml serve` of a language model that vLLM does not load: a random tiny Llama in NF4, asked over HTTP."""

from __future__ import annotations

import os
import subprocess
import time

import httpx
import openai
import pytest
import yaml

import quantbento
from examples.server import bento, serve
from tests.conftest import ROOT, model_store
from tests.service.openai_streams import check_chat, check_completion
from tests.stored_llama import store_llama
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.slow, pytest.mark.server]
NAME, PROMPT = "tiny-random-llama-nf4", "def main("
START_SECONDS = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store with the model, without a pipeline's work."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = write_tiny_llama(tmp_path_factory.mktemp("llama"))
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="bfloat16")
    AutoModelForCausalLM.from_pretrained(folder, quantization_config=config).save_pretrained(folder)
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        store_llama(NAME, folder, "transformers")
    return home


@pytest.fixture(scope="module")
def offline(home) -> str:
    with model_store(home):
        return quantbento.load(NAME)([PROMPT])[0]["text"]


@pytest.fixture(scope="module")
def server(home, tmp_path_factory):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": NAME}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serve(bento("service:TextGenerationTransformers"), environment, log, START_SECONDS) as server:
        yield server


def test_the_service_and_its_former_name_are_one():
    import service

    assert service.TextGenerationTransformers is service.TextGeneration


def test_a_bento_of_the_former_name_is_built_and_served(home, tmp_path):
    """`configs/bentos/tiny-llama-nf4.yaml` names `TextGenerationTransformers`, as Bentos before it did."""
    own = {"BENTOML_HOME": str(home)}
    command = ["build", "-f", "configs/bentos/tiny-llama-nf4.yaml", "--arg", f"model={NAME}", "."]
    subprocess.run([*bento()[:3], *command], cwd=ROOT, env={**os.environ, **own}, check=True, capture_output=True)
    [description] = home.glob("bentos/tiny-llama-nf4/*/bento.yaml")
    assert yaml.safe_load(description.read_text())["service"] == "service:TextGenerationTransformers"
    with serve(bento("tiny-llama-nf4:latest"), own, tmp_path / "server.log", START_SECONDS) as server:
        info = httpx.get(f"{server.url}/info").json()
        assert (info["model"].partition(":")[0], info["runtime"]) == (NAME, "transformers")
        answer = httpx.post(f"{server.url}/generate", json={"prompt": PROMPT, "max_tokens": 2}, timeout=60)
        assert answer.json()["tokens_generated"] == 2


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def test_the_openai_client_gets_the_loaded_artifacts_text_streaming_and_not(client, offline):
    check_completion(client, NAME, PROMPT, 64, offline)


def test_a_chat_streams_what_it_says_whole(client):
    check_chat(client, NAME)


def test_generate_gives_the_same_text_with_its_tokens_and_seconds(server, offline):
    body = {"prompt": PROMPT, "max_tokens": 64, "temperature": 0}
    answer = httpx.post(f"{server.url}/generate", json=body, timeout=60).json()
    assert answer["text"] == offline
    assert 0 < answer["tokens_generated"] <= 64
    assert 0 < answer["inference_time"] < 60


WRONG = {
    "empty": ("/generate", {"prompt": ""}, "at least 1 character"),
    "blank": ("/generate", {"prompt": " "}, "must not be empty"),
    "longer than the model": ("/generate", {"prompt": "a b " * 2000, "max_tokens": 1}, "at most 1024"),
    "OpenAI: empty": ("/v1/completions", {"prompt": ""}, "must not be empty"),
    "OpenAI: penalty": ("/v1/completions", {"prompt": "a", "presence_penalty": 1}, "presence_penalty: "),
}


@pytest.mark.parametrize(("path", "body", "said"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_400_and_says_why(server, path, body, said):
    response = httpx.post(server.url + path, json=body, timeout=60)
    assert response.status_code == 400
    assert said in response.text


def test_a_client_that_leaves_makes_room_for_the_next(server, client):
    body = {"prompt": PROMPT, "max_tokens": 1000, "ignore_eos": True, "n": 8, "stream": True}
    start = time.monotonic()
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as left:
        next(left.iter_lines())
    client.completions.create(model=NAME, prompt=PROMPT, max_tokens=1)
    assert time.monotonic() - start < 10  # the 8,000 tokens take longer
