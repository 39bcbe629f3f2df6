"""What engines share that run in this process: which tokens they take, and the text of those that they give."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import InvalidInput
from quantbento.runtimes.continuation import Continuation
from quantbento.runtimes.language_model import Generated, LanguageModel, Sampling


class InProcessModel(LanguageModel):
    """A language model whose engine knows tokens only; the tokenizer makes texts of them."""

    _tokenizer: Any
    _ends: set[int]  # tokens that end a text
    _vocabulary: int  # how many tokens the model knows

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Generator[str, None, Generated]:
        """The continuation of one prompt, in pieces of text as they come. The generator's return value is the whole
        continuation. Closing it stops the model at its next token.

        Raises:
            InvalidInput: a prompt the model cannot take; raised by the call itself, before the first piece.
        """
        return self._pieces(prompt, sampling, self._continuation(prompt, sampling))

    @abstractmethod
    def _pieces(self, prompt: Sequence[int], sampling: Sampling, row: Continuation) -> Generator[str, None, Generated]:
        """Gives `row` the tokens that follow a checked prompt, and passes on the pieces that it makes of them."""

    def _continuation(self, prompt: Sequence[int], sampling: Sampling, index: int | None = None) -> Continuation:
        if "" in sampling.stop:
            raise InvalidInput("a stop string must not be empty")
        self._check(prompt, index, sampling.max_tokens)
        return Continuation(self._tokenizer, prompt, sampling, () if sampling.ignore_eos else self._ends)

    def _empty_scores(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        """Room for what `score` returns of these windows.

        Raises:
            InvalidInput: a window the model cannot take; `index` says which.
        """
        for index, window in enumerate(windows):
            self._check(window, index)
        count, positions = len(windows), windows.shape[1] - 1
        return {
            "token_logprobs": np.empty((count, positions), np.float32),
            "top_ids": np.empty((count, positions, top), np.int32),
            "top_logprobs": np.empty((count, positions, top), np.float32),
        }

    def _check(self, tokens: Sequence[int] | np.ndarray, index: int | None, more: int = 0) -> None:
        if len(tokens) == 0:
            raise InvalidInput("a prompt needs at least one token", index)
        if self.max_model_len is not None and len(tokens) + more > self.max_model_len:
            wanted = f" and {more} to generate" if more else ""
            raise InvalidInput(f"{len(tokens)} tokens{wanted}; the model takes at most {self.max_model_len}", index)
        lowest, highest = np.min(tokens), np.max(tokens)
        if lowest < 0 or highest >= self._vocabulary:
            raise InvalidInput(f"tokens {lowest} to {highest}; the model knows 0 to {self._vocabulary - 1}", index)
