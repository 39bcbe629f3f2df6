"""Prompts become the tokens the model was trained on, texts are cut to exact counts, and metrics are right."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.text_generation import TextGeneration, read_tokenizer
from tests.tiny_llama import tokenizer_of

TEXT = "def main(arguments):\n    return 0\n"
CHAT = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A test."}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer with a chat template, which writes `<s>` itself."""
    folder = tmp_path_factory.mktemp("with-template")
    tokenizer_of(TEXT).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    """The same without a chat template; it puts `<s>` before every text, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path_factory.mktemp("without-template")
    tokenizer = tokenizer_of(TEXT)
    tokenizer.chat_template = None
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save_pretrained(folder)
    return folder


def task_in(folder, **options) -> TextGeneration:
    return TextGeneration(folder, TextGeneration.Options(**options))


def test_a_prompt_goes_through_the_chat_template_where_there_is_one(folder):
    task = task_in(folder)
    assert task.tokenizer.decode(task.prompt_ids("What?")) == "<s>user: What?\nassistant: "
    assert task.tokenizer.decode(task.prompt_ids(CHAT[:1])) == "<s>user: What is it?\nassistant: "


def test_the_chat_template_can_be_left_out(folder):
    task = task_in(folder, chat_template=False)
    assert task.tokenizer.decode(task.prompt_ids("What?")) == "What?"
    assert task.tokenizer.decode(task.prompt_ids(CHAT[:1])).startswith("<s>user:")  # messages have no other form


def test_without_a_template_a_prompt_gets_the_tokenizers_special_tokens(plain_folder):
    task = task_in(plain_folder)
    assert not task.uses_chat_template
    assert task.prompt_ids("main") == [0, *task.tokenizer("main", add_special_tokens=False)["input_ids"]]


def test_a_chat_as_a_text_is_as_it_is_written_out_in_training(folder):
    task = task_in(folder)
    assert task.tokenizer.decode(task.text_ids(CHAT)) == "<s>user: What is it?\nassistant: A test.\n"
    assert task.tokenizer.decode(task.text_ids("plain")) == "plain"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (7, "must be a string or a list of messages, not int"),
        ([], "must be a string or a list of messages, not list"),
        (" \n", "must not be empty"),
        (["hello"], 'each message must be {"role": ..., "content": text}'),
        ([{"role": "user", "content": 3}], 'each message must be {"role": ..., "content": text}'),
        ([{"role": "robot", "content": "x"}], "role must be one of system, user, assistant, tool, not 'robot'"),
    ],
    ids=["number", "no-messages", "blank", "no-mapping", "no-text", "no-such-role"],
)
def test_what_is_no_prompt_is_refused(folder, item, message):
    with pytest.raises(InvalidInput) as caught:
        task_in(folder).check(item)
    assert message in str(caught.value)


def test_messages_need_a_chat_template(folder, plain_folder):
    assert task_in(folder).check(CHAT) == CHAT
    with pytest.raises(InvalidInput, match="messages need a chat template"):
        task_in(plain_folder).check(CHAT)


def test_sequences_are_the_texts_one_after_the_other_in_exact_counts(folder):
    task = task_in(folder)
    texts = ["ABC", "DEFG", "HIJKLM"]
    ids = [token for text in texts for token in task.text_ids(text)]
    assert len(ids) == 13  # the tokenizer merges none of these
    found = task.sequences(texts, 4, 3, "calibration")
    assert (found.dtype, found.shape) == (np.int64, (3, 4))
    assert found.ravel().tolist() == ids[:12]
    assert task.sequences([*texts, 7], 13, 1, "calibration").tolist() == [ids]  # the rest is not looked at


def test_too_few_tokens_are_an_error_with_the_numbers(folder):
    with pytest.raises(QuantbentoError) as caught:
        task_in(folder).sequences(["ABC", "DEFG"], 2, 4, "calibration")
    assert str(caught.value) == "calibration: 2 texts make 3 sequences of 2 tokens, 4 are asked for"


def test_windows_are_what_the_options_say(folder):
    task = task_in(folder, window=3, windows=2)
    assert task.windows(["ABC", "DEFG"]).tolist() == [task.text_ids("ABC"), task.text_ids("DEF")]
    with pytest.raises(QuantbentoError, match="evaluation: 1 texts make 1 sequences of 3 tokens, 2 are asked for"):
        task.windows(["ABCDE"])


def scores(probabilities, followed) -> dict:
    """What a runtime's `score` returns if these are the probabilities of tokens 0, 1, ... at each position."""
    logs = np.log(np.asarray(probabilities, np.float32))[None]
    order = np.argsort(-logs, axis=-1)[..., :3].astype(np.int32)
    return {
        "token_logprobs": np.take_along_axis(logs, np.asarray(followed)[None, :, None], -1)[..., 0],
        "top_ids": order,
        "top_logprobs": np.take_along_axis(logs, order, -1),
    }


def test_metrics_are_worked_out_by_hand(folder):
    task = task_in(folder)
    baseline = scores([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]], [0, 1])
    variant = scores([[0.25, 0.5, 0.25], [0.125, 0.75, 0.125]], [0, 1])
    own = task.compare(baseline, baseline, None)
    same = {"agreement": 1, "kl_divergence": 0, "kl_p99": 0}
    assert own == pytest.approx({"perplexity": (0.5 * 0.75) ** -0.5, **same}, abs=1e-6)
    found = task.compare(baseline, variant, None)
    kl = 0.25 * np.log(2)  # of the first position; the other's is 0
    expected = {"perplexity": (0.25 * 0.75) ** -0.5, "agreement": 0.5, "kl_divergence": kl / 2, "kl_p99": 0.99 * kl}
    assert found == pytest.approx(expected, rel=1e-5)
    assert found.keys() == task.metrics.keys()
    shown = task.divergence(baseline, variant)
    assert shown["max"] == pytest.approx(kl, rel=1e-5)
    assert shown["perplexity_ratio"] == pytest.approx(2**0.5, rel=1e-5)


def test_what_is_saved_is_the_same_task_again(folder, tmp_path):
    options = {"window": 16, "chat_template": False, "engine": {"max_model_len": 64}}
    task = task_in(folder, **options)
    config = task.save(tmp_path)
    assert config == {name: value for name, value in options.items() if name != "engine"}  # the runtime keeps that
    again = TextGeneration.load(tmp_path, config)
    assert again.options == task.options.model_copy(update={"engine": {}})
    assert again.prompt_ids(TEXT) == task.prompt_ids(TEXT)
    assert again.tokenizer.chat_template == task.tokenizer.chat_template


def test_a_model_without_a_folder_is_refused():
    with pytest.raises(QuantbentoError, match="needs a model in hub format with its tokenizer"):
        TextGeneration.create(SourceModel(), TextGeneration.Options(), SampleSet([]))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no tokenizer in .*; copy tokenizer.json and tokenizer_config.json"), ("{", "does not load: ")],
    ids=["missing", "broken"],
)
def test_a_tokenizer_that_cannot_be_read_is_one_clear_line(tmp_path, content, message):
    if content:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(QuantbentoError, match=message) as caught:
        read_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_drawn_windows_have_the_metrics_of_the_windows_written_out(folder):
    task = task_in(folder)
    windows = [scores([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]], [0, 1]), scores([[0.25, 0.5, 0.25]] * 2, [0, 1])]
    baseline = {name: np.concatenate([w[name] for w in windows]) for name in windows[0]}
    variant = {name: values[::-1] for name, values in baseline.items()}
    drawn = np.array([1, 1, 0])
    written = [{name: values[drawn] for name, values in rows.items()} for rows in (baseline, variant)]
    assert task.resampler(baseline, variant, None)(drawn) == pytest.approx(task.compare(*written, None))
