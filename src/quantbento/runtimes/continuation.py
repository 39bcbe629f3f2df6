"""What follows a prompt, token by token: its text, and where it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from quantbento.runtimes.language_model import Generated, Sampling

CONTEXT = 5  # last tokens of the prompt; some tokenizers write a space before a word only after another token


class Continuation:
    """Takes tokens until `finish_reason` is set: by a token in `ends`, by a stop string, or by `max_tokens`."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int], sampling: Sampling, ends: Collection[int]) -> None:
        self._text_of = _IncrementalText(tokenizer, prompt)
        self._sampling, self._ends = sampling, ends
        self._text, self._told = "", 0
        self.token_ids: list[int] = []
        self.finish_reason: Literal["stop", "length"] | None = None

    def add(self, token: int) -> str:
        """Takes the next token. Returns the text that is certain now and was not returned before."""
        self.token_ids.append(token)
        if token in self._ends:
            self.finish_reason = "stop"
        else:
            self._take(self._text_of.add(token))
        if self.finish_reason is None and len(self.token_ids) == self._sampling.max_tokens:
            self.finish_reason = "length"
        certain = len(self._text) - (0 if self.finish_reason else self._start_of_a_stop())
        piece, self._told = self._text[self._told : certain], certain
        return piece

    def generated(self) -> Generated:
        assert self.finish_reason is not None
        return Generated(self._text, self.token_ids, self.finish_reason)

    def _take(self, piece: str) -> None:
        before = len(self._text)
        self._text += piece
        found = [self._text.find(stop, max(0, before - len(stop) + 1)) for stop in self._sampling.stop]
        if cuts := [at for at in found if at >= 0]:
            self._text, self.finish_reason = self._text[: min(cuts)], "stop"

    def _start_of_a_stop(self) -> int:
        """How many characters at the end may turn out to be the start of a stop string."""
        starts = (stop[:size] for stop in self._sampling.stop for size in range(1, len(stop)))
        return max((len(start) for start in starts if self._text.endswith(start)), default=0)


class _IncrementalText:
    """The text of tokens that come one at a time. A character spread over several tokens is held back until it is
    complete. One that is never completed is left out, as vLLM does."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._context, self._pending = list(prompt[-CONTEXT:]), list[int]()

    def add(self, token: int) -> str:
        self._pending.append(token)
        before, now = self._decode(self._context), self._decode(self._context + self._pending)
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._context, self._pending = self._pending, []
        return now[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
