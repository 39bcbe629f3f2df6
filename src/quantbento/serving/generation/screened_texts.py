"""What of a request for text a model will read, as texts, for the screen of prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from quantbento.serving.generation.requests import ChatRequest, CompletionRequest, GenerationRequest


def texts_of(asked: GenerationRequest, decode: Callable[[list[int]], str]) -> list[str]:
    """The prompts of a completion, or all texts of a chat's messages and tools. A message in parts is one text, in
    lines, as models get it.

    Args:
        decode: makes a text of token ids.
    """
    if isinstance(asked, CompletionRequest):
        lone = isinstance(asked.prompt, str) or isinstance(asked.prompt[0], int)
        return [p if isinstance(p, str) else decode(p) for p in ([asked.prompt] if lone else asked.prompt)]
    assert isinstance(asked, ChatRequest)
    texts = []
    for message in asked.messages:
        content = message.content or ""
        texts.append(content if isinstance(content, str) else "\n".join(part["text"] for part in content))
    beside = [message.model_dump(exclude={"role", "content"}, exclude_none=True) for message in asked.messages]
    return [*texts, *_strings([*beside, asked.model_dump(include={"tools"}, exclude_none=True)])]


def _strings(value: Any) -> Iterator[str]:
    """Every string in it, names of fields too: those of a tool's parameters are the client's."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member)
