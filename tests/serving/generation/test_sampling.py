"""What a request asks for is either done or refused, never left out in silence."""

from __future__ import annotations

import pytest
from jinja2 import TemplateError

from quantbento.serving.generation.requests import ChatRequest, CompletionRequest
from quantbento.serving.generation.sampling import WITHOUT_EFFECT, Refused, choices_of, prompts_of, refuse_unsupported
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.tasks.text_generation import TextGeneration

DONE = {
    *("model", "prompt", "messages", "max_tokens", "max_completion_tokens", "n", "best_of", "temperature", "top_p"),
    *("seed", "stop", "ignore_eos", "stream", "stream_options", "user", "echo"),
}


class Task(TextGeneration):
    """Shows what it was asked to encode."""

    def __init__(self) -> None:
        self.seen: list = []

    def check(self, item):
        self.seen.append(item)
        return item

    def text_ids(self, item):
        return [len(item)]

    def prompt_ids(self, item):
        if len(item) > 1:
            raise TemplateError("roles must alternate")
        return [len(item)]


def completion(**body) -> CompletionRequest:
    return CompletionRequest.model_validate({"prompt": "a"} | body, context=GenerationSettings())


def chat(*contents, **body) -> ChatRequest:
    messages = [{"role": "user", "content": content} for content in contents]
    return ChatRequest.model_validate({"messages": messages} | body, context=GenerationSettings(tool_parser="hermes"))


def test_every_field_is_done_or_refused():
    assert set(CompletionRequest.model_fields) | set(ChatRequest.model_fields) == DONE | set(WITHOUT_EFFECT)


@pytest.mark.parametrize(
    "asked",
    [
        completion(min_tokens=1),
        completion(logit_bias={"5": 1.0}),
        completion(stop_token_ids=[5]),
        completion(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}),
        completion(structured_outputs={"choice": ["a"]}),
        completion(echo=True, stream=True),
        chat("hi", logprobs=True),
        chat("hi", tools=[{"type": "function", "function": {"name": "f"}}]),
        chat("hi", chat_template_kwargs={"enable_thinking": False}),
    ],
    ids=lambda asked: min(asked.model_fields_set - {"prompt", "messages"}),
)
def test_a_field_that_would_have_no_effect_is_named(asked):
    with pytest.raises(Refused) as refused:
        refuse_unsupported(asked, ["m:1"], "gguf")
    assert refused.value.field in asked.model_fields_set
    assert "the gguf runtime " in refused.value.message


def test_a_completions_log_probabilities_and_echo_are_done():
    refuse_unsupported(completion(logprobs=0, echo=True, max_tokens=0), ["m:1"], "gguf")


def test_messages_of_tools_are_refused():
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for message in (
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    ):
        asked = ChatRequest.model_validate({"messages": [message]}, context=GenerationSettings())
        with pytest.raises(Refused, match="the gguf runtime cannot call tools"):
            refuse_unsupported(asked, ["m:1"], "gguf")


def test_no_new_token_is_none():
    assert choices_of(completion(echo=True, max_tokens=0), [[1]], 100, 10)[0].sampling.max_tokens == 0


def test_a_messages_parts_are_lines_of_one_text():
    task = Task()
    prompts_of(chat([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]), task)
    assert task.seen == [[{"role": "user", "content": "one\ntwo"}]]


def test_what_the_chat_template_refuses_is_the_clients_mistake():
    with pytest.raises(Refused, match="roles must alternate"):
        prompts_of(chat("one", "two"), Task())


def test_token_ids_pass_as_they_are():
    assert prompts_of(completion(prompt=[5, 6]), Task()) == [[5, 6]]
    assert prompts_of(completion(prompt=[[5, 6], [7]]), Task()) == [[5, 6], [7]]
    assert prompts_of(completion(prompt=["ab", "c"]), Task()) == [[2], [1]]


def test_choices_of_a_prompt_differ_by_their_seeds():
    choices = choices_of(completion(n=2, seed=5), [[1], [2]], 100, None)
    assert [(c.prompt, c.sampling.seed) for c in choices] == [([1], 5), ([1], 6), ([2], 5), ([2], 6)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(chat("hi"), 7), (chat("hi", max_tokens=3), 3), (chat("hi", max_completion_tokens=2), 2), (completion(), 7)],
    ids=["chat", "max_tokens", "max_completion_tokens", "completion"],
)
def test_who_does_not_say_gets_the_room_there_is(asked, expected):
    assert choices_of(asked, [[1, 2, 3]], 100, 10)[0].sampling.max_tokens == expected


def test_openais_defaults_hold():
    sampling = choices_of(completion(), [[1]], 100, None)[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.stop) == (16, 1.0, 1.0, ())
    assert choices_of(completion(stop="x", temperature=0), [[1]], 100, None)[0].sampling.stop == ("x",)
