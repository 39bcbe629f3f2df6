"""The official client's own types take what is answered."""

from __future__ import annotations

import json

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from quantbento.runtimes.language_model import Generated
from quantbento.serving.generation.openai_texts import TextsResponse

DONE = [Generated("one", [5, 6], "stop"), Generated("two", [7], "length")]


def chunks(events: bytes) -> list[dict]:
    return [json.loads(part.removeprefix(b"data: ")) for part in events.split(b"\n\n") if part]


@pytest.mark.parametrize(("chat", "kind"), [(False, Completion), (True, ChatCompletion)], ids=["completion", "chat"])
def test_a_whole_answer(chat, kind):
    answer = kind.model_validate(TextsResponse("m:1", chat).whole(DONE, prompt_tokens=4), strict=True)
    texts = [choice.message.content if chat else choice.text for choice in answer.choices]
    assert texts == ["one", "two"]
    assert [(choice.index, choice.finish_reason) for choice in answer.choices] == [(0, "stop"), (1, "length")]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (4, 3, 7)


def test_a_chats_stream_begins_with_who_speaks():
    shape = TextsResponse("m:1", chat=True)
    events = shape.opening(2) + shape.piece(1, "on", None) + shape.piece(1, "", "stop") + shape.closing(DONE, 4)
    parsed = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks(events)]
    said = [(c.choices[0].index, c.choices[0].delta.role, c.choices[0].delta.content) for c in parsed[:-1]]
    assert said == [(0, "assistant", ""), (1, "assistant", ""), (1, None, "on"), (1, None, None)]
    assert [c.choices[0].finish_reason for c in parsed[:-1]] == [None, None, None, "stop"]
    assert (parsed[-1].choices, parsed[-1].usage.total_tokens) == ([], 7)
    assert len({chunk.id for chunk in parsed}) == 1


def test_a_completions_stream_has_the_wholes_type():
    shape = TextsResponse("m:1", chat=False)
    assert shape.opening(2) == b""
    [chunk] = chunks(shape.piece(1, "on", None))
    assert chunk["object"] == "text_completion"
    assert chunk["choices"] == [{"index": 1, "text": "on", "logprobs": None, "finish_reason": None}]
