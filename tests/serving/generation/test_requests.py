"""Everything a client can ask for has a limit, and what is wrong is said with the field, the limit and the value."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from quantbento.serving.generation.body import problem
from quantbento.serving.generation.requests import ChatRequest, CompletionRequest
from quantbento.serving.generation.settings import GenerationSettings

LIMITS = GenerationSettings(max_tokens=100, max_prompts=3, max_choices=2, max_characters=50)
MESSAGES = [{"role": "user", "content": "hi"}]
NO_NUMBERS = {
    *("model", "prompt", "messages", "stop", "stop_token_ids", "logit_bias", "user", "response_format"),
    *("stream", "stream_options", "echo", "ignore_eos", "chat_template_kwargs"),
    *("structured_outputs", "tools", "tool_choice", "parallel_tool_calls"),
}


def refused(request, body: dict) -> tuple[str, str | None]:
    with pytest.raises(ValidationError) as raised:
        request.model_validate_json(json.dumps(body), context=LIMITS)
    return problem(raised.value, request)


def completion(**fields) -> tuple[str, str | None]:
    return refused(CompletionRequest, {"prompt": "a"} | fields)


def chat(**fields) -> tuple[str, str | None]:
    return refused(ChatRequest, {"messages": MESSAGES} | fields)


@pytest.mark.parametrize("value", [10**30, -(10**30), math.nan, math.inf, "1"], ids=str)
@pytest.mark.parametrize("field", sorted(set(CompletionRequest.model_fields) - NO_NUMBERS))
def test_every_number_of_a_completion_is_limited(field, value):
    message, parameter = completion(**{field: value})
    assert parameter == field
    assert message.startswith(f"{field}: ")


@pytest.mark.parametrize("value", [10**30, -(10**30)], ids=str)
@pytest.mark.parametrize("field", sorted(set(ChatRequest.model_fields) - NO_NUMBERS))
def test_every_number_of_a_chat_is_limited(field, value):
    assert chat(**{field: value})[1] == field


SETTINGS = {
    "max_tokens": (101, "max_tokens: must be at most 100 (max_tokens), not 101"),
    "min_tokens": (101, "min_tokens: must be at most 100 (max_tokens), not 101"),
    "n": (3, "n: must be at most 2 (max_choices), not 3"),
    "temperature": (2.5, "temperature: Input should be less than or equal to 2, not 2.5"),
}


@pytest.mark.parametrize(("field", "value", "said"), [(f, v, s) for f, (v, s) in SETTINGS.items()], ids=SETTINGS)
def test_the_field_the_value_and_the_limit_are_named(field, value, said):
    assert completion(**{field: value}) == (said, field)


PROMPTS = {
    "empty": ("", "must not be empty"),
    "no prompts": ([], "must not be empty"),
    "one is empty": (["a", ""], "must not be empty"),
    "too many": (["a"] * 4, "4 prompts, must be at most 3 (max_prompts)"),
    "too long": ("a" * 51, "51 characters, must be at most 50 (max_characters)"),
    "too many ids": ([1] * 51, "51 characters, must be at most 50"),
    "mixed": (["a", [1]], "must be a text, its token ids, or a list of either"),
    "a number": (5, "must be a text, its token ids, or a list of either"),
    "a negative id": ([[-1]], "token ids must be integers from 0"),
    "a huge id": ([2**31], "token ids must be integers from 0"),
    "a true id": ([[True]], "token ids must be integers from 0"),
}


@pytest.mark.parametrize(("prompt", "said"), PROMPTS.values(), ids=PROMPTS)
def test_a_wrong_prompt(prompt, said):
    message, parameter = refused(CompletionRequest, {"prompt": prompt})
    assert said in message
    assert parameter == "prompt"


LISTS = {
    "stop": (["a"] * 17, "at most 16"),
    "a long stop": (["a" * 257], "1 to 256 characters"),
    "an empty stop": ("", "1 to 256 characters"),
    "stop_token_ids": ([1] * 17, "at most 16"),
    "logit_bias": ({str(i): 1 for i in range(301)}, "at most 300"),
    "a strong logit_bias": ({"5": 101}, "less than or equal to 100"),
}


@pytest.mark.parametrize(("name", "value", "said"), [(n, v, s) for n, (v, s) in LISTS.items()], ids=LISTS)
def test_lists_are_limited(name, value, said):
    message, parameter = completion(**{name.split()[-1]: value})
    assert said in message
    assert parameter == name.split()[-1]


DANGEROUS = {
    "prompt_logprobs": 1,
    "chat_template": "{{ 1 }}",
    "guided_regex": "(a+)+",
    "use_beam_search": True,
    "prompt_embeds": "AAAA",
    "bad_words": ["a"],
    "functions": [],
    "vllm_xargs": {},
    "kv_transfer_params": {},
    "priority": -1,
    "truncate_prompt_tokens": 1,
}


@pytest.mark.parametrize(("field", "value"), DANGEROUS.items(), ids=DANGEROUS)
def test_what_is_not_known_to_be_safe_is_refused(field, value):
    for message, parameter in (completion(**{field: value}), chat(**{field: value})):
        assert message.startswith(f"{field}: not supported here")
        assert parameter == field


def test_a_grammar_or_a_regular_expression_of_the_clients_is_refused():
    for kind in ("regex", "grammar", "json", "structural_tag"):
        assert completion(structured_outputs={kind: "(a+)+"})[1] == "structured_outputs"
    for kind in ("structural_tag", "regex"):
        assert "'json_object' or 'json_schema'" in completion(response_format={"type": kind})[0]


def test_two_constraints_do_not_go_together():
    both = completion(response_format={"type": "json_object"}, structured_outputs={"choice": ["a"]})
    assert both[1] == "structured_outputs"
    assert "leave one out" in both[0]


PROMPT_LOGPROBS = {
    "more tokens": ({"logprobs": 6}, "5 for each token (max_prompt_logprobs)"),
    "long together": ({"prompt": ["a" * 30] * 2, "logprobs": 1}, "50 characters of all prompts together"),
    "ids, long together": ({"prompt": [[1] * 30] * 2, "logprobs": 1}, "these have 60"),
    "more choices": ({"n": 2, "logprobs": 1}, "one choice (n)"),
    "a stream": ({"stream": True, "logprobs": 1}, "not streamed"),
}


@pytest.mark.parametrize(("fields", "said"), PROMPT_LOGPROBS.values(), ids=PROMPT_LOGPROBS)
def test_log_probabilities_of_the_prompt_are_limited(fields, said):
    message, parameter = completion(echo=True, **fields)
    assert "of the whole prompt too, whose memory has no limit beyond" in message
    assert said in message
    assert parameter == "logprobs"


def test_log_probabilities_of_the_prompt_pass_within_the_limits():
    body = {"prompt": [[1] * 25, [2] * 25], "echo": True, "logprobs": 5, "max_tokens": 0}
    assert passed_on(CompletionRequest, body) == body


def test_no_token_at_all_is_asked_for_with_echo_only():
    for fields in ({}, {"echo": False}, {"logprobs": 1}):
        message, parameter = completion(max_tokens=0, **fields)
        assert "max_tokens 0 asks for nothing without echo" in message
        assert parameter == "echo"
    assert chat(max_tokens=0)[1] == "max_tokens"


def test_a_misspelt_field_is_told_its_name():
    assert completion(temprature=1)[0] == "temprature: not supported here; did you mean 'temperature'?"


CHATS = {
    "an image": ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a"}}]}], "'text'"),
    "a part with more": ([{"role": "user", "content": [{"type": "text", "text": "a", "b": 1}]}], '"text": "..."'),
    "another role": ([{"role": "nobody", "content": "a"}], "messages.0.role"),
    "no content": ([{"role": "user"}], "messages.0: content"),
    "nothing called": ([{"role": "assistant", "tool_calls": []}], "messages.0: content"),
    "no message": ([], "at least 1 item"),
    "too long together": ([{"role": "user", "content": "a" * 26}] * 2, "52 characters, must be at most 50"),
}


@pytest.mark.parametrize(("messages", "said"), CHATS.values(), ids=CHATS)
def test_wrong_messages(messages, said):
    message, parameter = refused(ChatRequest, {"messages": messages})
    assert said in message
    assert parameter == "messages"


def passed_on(request, body: dict) -> dict:
    return json.loads(request.model_validate(body, context=LIMITS).model_dump_json(exclude_unset=True))


def test_what_clients_send_passes_unchanged():
    body = {"prompt": [[1, 2], [3]], "max_tokens": 100, "temperature": 0, "stop": ["a"], "logit_bias": {"5": -100}}
    assert passed_on(CompletionRequest, body) == body
    parts = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    body = {"messages": parts, "stream": True, "stream_options": {"include_usage": True}, "top_logprobs": 5}
    assert passed_on(ChatRequest, body) == body
