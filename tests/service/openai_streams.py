"""What OpenAI's client gets of a service: the same whole and in pieces."""

from __future__ import annotations

import openai


def check_completion(client: openai.OpenAI, model: str, prompt: str, tokens: int, expected: str) -> None:
    asked = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    assert client.completions.create(**asked).choices[0].text == expected
    pieces = [chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True)]
    assert len(pieces) > 10
    assert "".join(pieces) == expected


def check_chat(client: openai.OpenAI, model: str) -> None:
    asked = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True)]
    assert whole.choices[0].message.content
    assert "".join(pieces) == whole.choices[0].message.content
