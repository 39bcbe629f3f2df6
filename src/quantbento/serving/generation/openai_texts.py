"""OpenAI's shape of an answer with texts: completions and chats, whole and as server-sent events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quantbento.runtimes.language_model import Generated

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Told:
    """A completion's text and its `logprobs`."""

    text: str
    logprobs: dict[str, Any] | None


class TextsResponse:
    """One response's parts, which share its id."""

    def __init__(self, model: str, chat: bool) -> None:
        self._chat = chat
        self._object = "chat.completion" if chat else "text_completion"
        prefix = "chatcmpl" if chat else "cmpl"
        self._head = {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(
        self, done: Sequence[Generated], prompt_tokens: int, told: Sequence[Told] | None = None
    ) -> dict[str, Any]:
        """The body of an answer that is not streamed; `told` is for completions that tell more than their texts."""
        choices = []
        for index, generated in enumerate(done):
            more = Told(generated.text, None) if told is None else told[index]
            said = {"message": {"role": "assistant", "content": more.text}} if self._chat else {"text": more.text}
            choices.append(
                {"index": index, **said, "logprobs": more.logprobs, "finish_reason": generated.finish_reason}
            )
        return {**self._head, "object": self._object, "choices": choices, "usage": usage(done, prompt_tokens)}

    def opening(self, choices: int) -> bytes:
        """What a stream begins with: in chats, who speaks."""
        if not self._chat:
            return b""
        return b"".join(self._chunk(i, {"delta": {"role": "assistant", "content": ""}}, None) for i in range(choices))

    def piece(self, index: int, text: str, finish_reason: str | None) -> bytes:
        """The next piece of a choice's text; its last has the reason."""
        said = {"delta": {"content": text} if text else {}} if self._chat else {"text": text}
        return self._chunk(index, said, finish_reason)

    def closing(self, done: Sequence[Generated], prompt_tokens: int) -> bytes:
        """The chunk with the number of tokens, for those who ask for it."""
        return self._event([], usage=usage(done, prompt_tokens))

    def _chunk(self, index: int, said: dict[str, Any], finish_reason: str | None) -> bytes:
        return self._event([{"index": index, **said, "logprobs": None, "finish_reason": finish_reason}])

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        kind = f"{self._object}.chunk" if self._chat else self._object
        return event({**self._head, "object": kind, "choices": choices, **more})


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(data)}\n\n".encode()


def usage(done: Sequence[Generated], prompt_tokens: int) -> dict[str, int]:
    """Counts of tokens, a prompt's once whatever is made of it."""
    made = sum(len(generated.token_ids) for generated in done)
    return {"prompt_tokens": prompt_tokens, "completion_tokens": made, "total_tokens": prompt_tokens + made}
