"""Log-probabilities and echoes of completions: those of the loaded artifact, in the shape of OpenAI's."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.testclient import TestClient

import quantbento
from quantbento.runtimes.language_model import Generated, Sampling
from quantbento.serving.generation.model import ServedLanguageModel
from quantbento.serving.generation.requests import CompletionRequest
from quantbento.serving.generation.sampling import Choice
from quantbento.serving.generation.scoring import told
from quantbento.serving.generation.settings import GenerationSettings
from tests.conftest import model_store
from tests.stored_llama import store_llama
from tests.tiny_llama import write_tiny_llama

NAME, PROMPT = "tiny", "def main("
ASKED = {"prompt": PROMPT, "max_tokens": 24, "temperature": 0}
TEXTS = {1: "a", 2: "b", 3: "\ufffd", 4: "\ufffd"}  # of the last two, each is half of a character


class Scorer:
    """Says that 3 and then 4 are the most probable after anything."""

    def __init__(self) -> None:
        self.scored: list[list[int]] = []

    def score(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        self.scored += windows.tolist()
        places = (1, windows.shape[1] - 1)
        listed = np.broadcast_to(np.asarray([3, 4][:top], np.int32), (*places, top))
        logprobs = np.broadcast_to(np.asarray([-0.5, -1.5][:top], np.float32), (*places, top))
        own = np.where(windows[:, 1:] == 1, -np.inf, -2.0).astype(np.float32)
        return {"token_logprobs": own, "top_ids": listed, "top_logprobs": logprobs}


def tell(left: bool = False, prompts: int = 1, continued: int = 2, **fields) -> tuple[list, Scorer]:
    """What completions tell of the prompt 1 2 (`ab`), `continued` with a token."""
    decode = SimpleNamespace(decode=lambda ids: "".join(TEXTS[i] for i in ids))
    scorer, event = Scorer(), threading.Event()
    if left:
        event.set()
    asked = CompletionRequest.model_validate({"prompt": [[1, 2]] * prompts} | fields, context=GenerationSettings())
    loaded = SimpleNamespace(runtime=scorer, task=SimpleNamespace(tokenizer=decode))
    choices = [Choice([1, 2], Sampling())] * prompts
    return told(asked, choices, [Generated(TEXTS[continued], [continued], "length")] * prompts, loaded, event), scorer


def test_the_first_token_has_none_and_each_lists_itself_and_the_most_probable():
    [choice], scorer = tell(echo=True, logprobs=1)
    assert choice.text == "abb"
    assert choice.logprobs == {
        "text_offset": [0, 1, 2],
        "token_logprobs": [None, -2.0, -2.0],
        "tokens": ["a", "b", "b"],
        "top_logprobs": [None, {"b": -2.0, "\ufffd": -0.5}, {"b": -2.0, "\ufffd": -0.5}],
    }
    assert scorer.scored == [[1, 2, 2]]


def test_without_echo_only_what_was_generated_is_told():
    [choice], _ = tell(logprobs=0)
    assert choice.text == "b"
    assert choice.logprobs == {
        "text_offset": [0],
        "token_logprobs": [-2.0],
        "tokens": ["b"],
        "top_logprobs": [{"b": -2.0}],
    }


def test_tokens_that_look_the_same_are_told_as_the_most_probable_of_them():
    [choice], _ = tell(logprobs=2)
    assert choice.logprobs["top_logprobs"] == [{"b": -2.0, "\ufffd": -0.5}]


def test_what_is_impossible_is_a_number_that_json_has():
    [choice], _ = tell(continued=1, logprobs=0)
    assert choice.logprobs["token_logprobs"] == [-9999.0]


def test_nothing_is_scored_for_a_client_that_left():
    tellings, scorer = tell(left=True, prompts=3, logprobs=1)
    assert (tellings, scorer.scored) == ([], [])


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    folder = write_tiny_llama(tmp_path_factory.mktemp("llama"))
    with model_store(tmp_path_factory.mktemp("bentoml")):
        store_llama(NAME, folder, "transformers")
        yield quantbento.load(NAME)


@pytest.fixture(scope="module")
def client(offline):
    server = ServedLanguageModel(GenerationSettings(max_tokens=200), NAME)
    with TestClient(server.app) as client:
        end = time.monotonic() + 60
        while not server.ready:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield client


def complete(client, **body) -> dict:
    response = client.post("/v1/completions", json=ASKED | body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.slow
def test_a_prompts_log_probabilities_are_those_of_the_loaded_artifact(client, offline):
    prompts = [offline.task.text_ids(PROMPT), offline.task.text_ids("class A(B):")]
    answer = complete(client, prompt=prompts, echo=True, logprobs=3, max_tokens=0)
    for ids, choice in zip(prompts, answer["choices"], strict=True):
        expected = offline.runtime.score(np.asarray([ids]), 3)
        told = choice["logprobs"]
        assert (choice["text"], choice["finish_reason"]) == (offline.task.tokenizer.decode(ids), "length")
        assert (told["token_logprobs"][0], told["top_logprobs"][0], told["text_offset"][0]) == (None, None, 0)
        assert told["token_logprobs"][1:] == pytest.approx(expected["token_logprobs"][0].tolist())
        highest = [max(listed.values()) for listed in told["top_logprobs"][1:]]
        assert highest == pytest.approx(expected["top_logprobs"][0, :, 0].tolist())
    assert answer["usage"]["completion_tokens"] == 0


@pytest.mark.slow
def test_what_is_generated_is_scored_too_and_greedy_tokens_are_the_most_probable(client):
    echoed = complete(client, echo=True, logprobs=1, max_tokens=4)
    alone = complete(client, logprobs=1, max_tokens=4)["choices"][0]
    choice, prompt = echoed["choices"][0], echoed["usage"]["prompt_tokens"]
    assert choice["text"] == PROMPT + alone["text"]
    assert choice["logprobs"]["tokens"][prompt:] == alone["logprobs"]["tokens"]
    assert choice["logprobs"]["token_logprobs"][prompt:] == alone["logprobs"]["token_logprobs"]
    assert len(alone["logprobs"]["tokens"]) == 4
    for own, listed in zip(alone["logprobs"]["token_logprobs"], alone["logprobs"]["top_logprobs"], strict=True):
        assert own == max(listed.values())


@pytest.mark.slow
def test_a_prompt_as_long_as_the_model_takes_is_scored(client):
    told = complete(client, prompt=[5] * 1024, echo=True, logprobs=0, max_tokens=0)["choices"][0]["logprobs"]
    assert len(told["token_logprobs"]) == len(told["tokens"]) == 1024
    one = complete(client, prompt=[5], echo=True, logprobs=1, max_tokens=0)["choices"][0]["logprobs"]
    assert one["token_logprobs"] == [None]


@pytest.mark.slow
def test_echo_alone_is_the_prompt_before_each_text(client):
    answer = complete(client, prompt=[PROMPT, "class"], echo=True, n=2, max_tokens=2)
    texts = [choice["text"] for choice in answer["choices"]]
    assert [text.startswith(PROMPT) for text in texts] == [True, True, False, False]
    assert all(text.startswith("class") for text in texts[2:])
    assert answer["choices"][0]["logprobs"] is None
