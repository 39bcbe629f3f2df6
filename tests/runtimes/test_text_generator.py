"""A generator asks its engine for the right tokens; the engine here is one that counts."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.runtimes.language_model import Generated, LanguageModel, Sampling
from quantbento.runtimes.text_generator import LISTED, TextGenerator
from quantbento.tasks.text_generation import TextGeneration
from tests.tiny_llama import tokenizer_of


class Counting(LanguageModel):
    """Continues each prompt with the number of its tokens, and records what it was asked for."""

    name = "counting"
    load, max_model_len = None, 99

    def __init__(self):
        self.prompts, self.sampling, self.closed = None, None, False

    def score(self, windows, top):
        return {"token_logprobs": windows[:, 1:].astype(np.float32), "listed": np.full(len(windows), top)}

    def generate(self, prompts, sampling):
        self.prompts, self.sampling = prompts, sampling
        made = sampling.max_tokens if sampling.ignore_eos else 3
        return [Generated(f"{len(p)} tokens", list(range(made)), "stop") for p in prompts]

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer_of("no pairs").save_pretrained(folder)
    return folder


@pytest.fixture
def generator(folder):
    options = {"window": 4, "windows": 2, "prompt_tokens": 5, "new_tokens": 7, "chat_template": False}
    return TextGenerator(TextGeneration(folder, TextGeneration.Options(**options)), Counting(), {})


def ids(generator, text):
    return generator.task.text_ids(text)


def test_prompts_are_answered_in_order(generator):
    assert generator(["abcdef", "ab"]) == [
        {"text": "6 tokens", "tokens_generated": 3, "finish_reason": "stop"},
        {"text": "2 tokens", "tokens_generated": 3, "finish_reason": "stop"},
    ]
    assert generator.runtime.prompts == [ids(generator, "abcdef"), ids(generator, "ab")]
    assert generator.runtime.sampling == Sampling()  # greedy
    generator(["ab"], Sampling(temperature=0.5))
    assert generator.runtime.sampling == Sampling(temperature=0.5)


def test_no_prompts_are_no_work(generator):
    assert generator([]) == []
    assert generator.runtime.prompts is None


def test_rows_are_scores_of_the_texts_windows(generator):
    rows = generator.rows(["abcdef", "ghijkl"])
    np.testing.assert_array_equal(rows["token_logprobs"], np.reshape(ids(generator, "abcdefgh"), (2, 4))[:, 1:])
    assert rows["listed"].tolist() == [LISTED] * 2


def test_work_counts_tokens_of_prompts_cut_to_one_length(generator):
    assert generator.work(["abcdefgh", "abc"]) == 2 * 7
    assert generator.runtime.prompts == [ids(generator, "abcde"), ids(generator, "abc")]
    assert generator.runtime.sampling == Sampling(max_tokens=7, ignore_eos=True)


def test_a_sample_is_a_prompt_and_what_follows_it(generator):
    assert generator.sample(["abcdefgh", "ijk"]) == {"prompt": "abcde", "text": "5 tokens"}
    assert generator.runtime.sampling == Sampling(max_tokens=7)


@pytest.mark.parametrize("ask", ["__call__", "rows", "work"])
def test_a_bad_prompt_is_named_by_its_place(generator, ask):
    with pytest.raises(InvalidInput, match="item 1: must not be empty") as caught:
        getattr(generator, ask)(["ab", ""])
    assert caught.value.index == 1
    assert generator.runtime.prompts is None


def test_close_ends_the_engine(generator):
    generator.close()
    assert generator.runtime.closed
