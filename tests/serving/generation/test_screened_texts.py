"""Every text that a model would read is screened."""

from __future__ import annotations

import pytest

from quantbento.serving.generation.requests import ChatRequest, CompletionRequest
from quantbento.serving.generation.screened_texts import texts_of
from quantbento.serving.generation.settings import GenerationSettings

PROMPTS = {
    "text": ("a", ["a"]),
    "texts": (["a", "b"], ["a", "b"]),
    "ids": ([1, 2], ["<1, 2>"]),
    "lists of ids": ([[1], [2, 3]], ["<1>", "<2, 3>"]),
}


def decode(ids: list[int]) -> str:
    return f"<{', '.join(map(str, ids))}>"


@pytest.mark.parametrize(("prompt", "texts"), PROMPTS.values(), ids=PROMPTS)
def test_prompts_of_a_completion_are_texts_and_decoded_ids(prompt, texts):
    asked = CompletionRequest.model_validate({"prompt": prompt}, context=GenerationSettings())
    assert texts_of(asked, decode) == texts


def test_messages_are_texts_with_all_that_is_beside_them():
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q": "an argument"}'}}
    body = {
        "messages": [
            {"role": "system", "content": "a rule"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
                "name": "ada",
            },
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "a result"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "search",
                    "description": "a description",
                    "parameters": {"type": "object", "properties": {"a-field": {"type": "string"}}},
                },
            }
        ],
    }
    settings = GenerationSettings(tool_parser="hermes")
    texts = texts_of(ChatRequest.model_validate(body, context=settings), decode)
    assert texts[:4] == ["a rule", "one\ntwo", "", "a result"]
    assert {"ada", '{"q": "an argument"}', "a description", "a-field"} <= set(texts)
