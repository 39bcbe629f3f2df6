"""A real `bentoml serve` of a GGUF file: what llama.cpp says, asked through OpenAI's client, whole and streamed."""

from __future__ import annotations

import openai
import pytest

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which is built on first installation")

from examples.server import bento, serve
from quantbento.runtimes.llama_cpp import MODEL
from tests.conftest import ROOT, model_store
from tests.gguf_files import write_gguf
from tests.service.openai_streams import check_chat, check_completion
from tests.stored_llama import store_llama
from tests.trained_llama import write_trained_llama

pytestmark = [pytest.mark.slow, pytest.mark.server]
NAME, PROMPT, TOKENS = "trained-llama-gguf", "def __init__(self", 48


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_trained_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def client(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((checkpoint / name).read_bytes())
    write_gguf(checkpoint, folder / MODEL)
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        store_llama(NAME, folder, "llama-cpp")
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": NAME}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serve(bento("service:TextGeneration"), environment, log, 300) as server:
        yield openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def told(checkpoint, tmp_path_factory):
    """What llama.cpp says itself to the same token ids."""
    from llama_cpp import Llama
    from transformers import AutoTokenizer

    path = tmp_path_factory.mktemp("own") / MODEL
    write_gguf(checkpoint, path)
    ids = AutoTokenizer.from_pretrained(checkpoint)(PROMPT)["input_ids"]
    own = Llama(str(path), n_ctx=512, verbose=False)
    text = own.create_completion(ids, max_tokens=TOKENS, temperature=0)["choices"][0]["text"]
    own.close()
    return text


def test_the_client_gets_llama_cpps_text_whole_and_in_pieces(client, told):
    check_completion(client, NAME, PROMPT, TOKENS, told)


def test_a_chat_streams_what_it_says_whole(client):
    check_chat(client, NAME)


def test_a_prompt_that_is_too_long_is_400(client):
    with pytest.raises(openai.BadRequestError, match="at most 512"):
        client.completions.create(model=NAME, prompt="a b " * 2000, max_tokens=1)
