"""Tools are taken where the model's calls can be read, and as many and as large as the limits say."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from quantbento.serving.generation.body import problem
from quantbento.serving.generation.requests import ChatRequest
from quantbento.serving.generation.settings import GenerationSettings

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "of a town", "parameters": {"type": "object"}},
}
CALL = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}
LONG = {"name": "weather", "arguments": "a" * 2001}
LIMITS = GenerationSettings(tool_parser="hermes", max_characters=2000)


def read(limits: GenerationSettings = LIMITS, messages: list | None = None, **fields) -> ChatRequest:
    body = {"messages": messages or [{"role": "user", "content": "hi"}]} | fields
    return ChatRequest.model_validate_json(json.dumps(body), context=limits)


def test_a_conversation_with_tools_passes_unchanged():
    messages = [
        {"role": "user", "content": "How is it in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "function_call": None},
        {"role": "tool", "tool_call_id": "call-1", "content": "rain"},
    ]
    fields = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}}
    passed = json.loads(read(messages=messages, **fields).model_dump_json(exclude_unset=True))
    assert passed == {"messages": messages, **fields}


WRONG = {
    "none": ({"tools": []}, "tools"),
    "many": ({"tools": [TOOL] * 65}, "tools"),
    "large together": ({"tools": [TOOL] * 30}, "tools"),
    "another kind": ({"tools": [{"type": "web_search"}]}, "tools"),
    "a name of parts": ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
    "a far schema": (
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"$ref": "a"}}}]},
        "tools",
    ),
    "chosen without": ({"tool_choice": "required"}, "tool_choice"),
    "another choice": ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
    "long arguments": (
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "a", "arguments": "a" * 2001}}]}
            ]
        },
        "messages",
    ),
    "calls of the user's": ({"messages": [{"role": "user", "content": "a", "tool_calls": [CALL]}]}, "messages"),
    "an answer to no call": ({"messages": [{"role": "tool", "content": "a"}]}, "messages"),
}


@pytest.mark.parametrize(("fields", "parameter"), WRONG.values(), ids=WRONG)
def test_what_is_beyond_a_limit_is_refused_with_the_field(fields, parameter):
    with pytest.raises(ValidationError) as raised:
        read(**fields)
    assert problem(raised.value, ChatRequest)[1] == parameter


def test_without_a_parser_the_setting_is_named():
    with pytest.raises(ValidationError) as raised:
        read(GenerationSettings(), tools=[TOOL], tool_choice="auto")
    message, parameter = problem(raised.value, ChatRequest)
    assert "the setting tool_parser" in message
    assert parameter == "tools"
    assert read(GenerationSettings(), tool_choice="none").tool_choice == "none"
