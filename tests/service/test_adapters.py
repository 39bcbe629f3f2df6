"""A real server with two adapters beside one model: each answers by its name, as the offline model with it does."""

from __future__ import annotations

import httpx
import openai
import pytest

import quantbento
from examples.server import bento, serve
from quantbento import store
from quantbento.inputs import adapters
from tests.conftest import ROOT, model_store
from tests.stored_llama import store_llama
from tests.trained_adapters import write_two

pytestmark = [pytest.mark.slow, pytest.mark.server]
NAME, PROMPT, TOKENS = "tiny-adapted", "def __init__(self, ", 12
ENGINES = {"transformers": {}, "vllm": {"engine": {"kv_cache_gib": 0.25, "max_model_len": 256}}}


@pytest.fixture(scope="module", params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def home(request, trained_llama, tmp_path_factory):
    from quantbento.core.files import link_checkpoint

    folder = tmp_path_factory.mktemp("adapted")
    link_checkpoint(trained_llama, folder)
    kept = adapters.write(write_two(trained_llama, tmp_path_factory.mktemp("adapters")), folder)
    with model_store(tmp_path_factory.mktemp("bentoml")) as home:
        store_llama(NAME, folder, request.param, adapters=kept, **ENGINES[request.param])
    return home


@pytest.fixture(scope="module")
def offline(home) -> dict[str, str]:
    """Greedy texts by adapter; of the model alone under its name."""
    from quantbento.runtimes.language_model import Sampling

    with model_store(home):
        generator = quantbento.load(NAME)
        try:
            models = {NAME: generator, **{name: generator.with_adapter(name) for name in ("red", "blue")}}
            return {n: model([PROMPT], Sampling(max_tokens=TOKENS))[0]["text"] for n, model in models.items()}
        finally:
            generator.close()


@pytest.fixture(scope="module")
def server(home, offline, tmp_path_factory):
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "QUANTBENTO_MODEL": NAME}
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serve(bento("service:TextGeneration"), environment, log, 300) as server:
        yield server


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def test_each_name_answers_as_offline(client, offline, home):
    assert len(set(offline.values())) == 3
    asked = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    for name, text in offline.items():
        whole = client.completions.create(model=name, **asked)
        assert whole.choices[0].text == text
        streamed = client.completions.create(model=name, **asked, stream=True)
        assert "".join(chunk.choices[0].text for chunk in streamed) == text
    assert client.completions.create(model="red", **asked).model == "red"


def test_models_lists_the_model_and_its_adapters(client, home):
    with model_store(home):
        tag = store.find(NAME).tag
    listed = client.models.list().data
    assert [model.id for model in listed] == [tag, NAME, "red", "blue"]
    assert [getattr(model, "parent", None) for model in listed] == [None, None, tag, tag]


def test_another_name_is_404_with_those_there_are(client, server):
    with pytest.raises(openai.NotFoundError, match=r"`green` does not exist.*`red`, `blue`"):
        client.completions.create(model="green", prompt=PROMPT, max_tokens=1)
    answer = httpx.post(f"{server.url}/generate", json={"prompt": PROMPT, "model": "green"})
    assert answer.status_code == 404
    assert "`red`, `blue`" in answer.text


def test_generate_takes_an_adapter_too(server, offline):
    asked = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    for name in ("blue", ""):
        answer = httpx.post(f"{server.url}/generate", json={**asked, "model": name}, timeout=120)
        assert answer.json()["text"] == offline[name or NAME]
