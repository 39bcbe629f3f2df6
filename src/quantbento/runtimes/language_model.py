"""The contract of a runtime for causal language models: it scores token sequences and continues prompts.

Both take token ids, so that every runtime sees the same prompts, whatever its engine's tokenizer would do.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.core.files import link_checkpoint
from quantbento.runtimes.base import ReferenceJob, Runtime


@dataclass(frozen=True)
class Sampling:
    """How a prompt is continued. `temperature` 0 is greedy. `stop` strings end the text and are not part of it.
    `ignore_eos` goes on to `max_tokens` even past an end token, for measuring speed."""

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class Generated:
    """The continuation of a prompt: its text without special tokens, and its tokens, including the one that ended
    it."""

    text: str
    token_ids: list[int]
    finish_reason: Literal["stop", "length"]


class LanguageModel(Runtime):
    """A loaded causal language model; its artifact folder is a checkpoint in hub format with its tokenizer.

    Attributes:
        adapters: names of the LoRA adapters that were loaded with it.
        adapter: the one that runs; None for the model alone.
    """

    contract = "tokens"
    runs = ("checkpoint",)
    adapters: tuple[str, ...] = ()
    adapter: str | None = None

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        """The checkpoint unchanged, its weights as links."""
        if job.source.folder is None or job.source.dtype != dtype:
            return None
        link_checkpoint(job.source.folder, folder)
        return {}

    def with_adapter(self, name: str | None) -> Self:
        """The same loaded model with one of its adapters, or with none. It shares the engine: only the model that was
        loaded is closed.

        Raises:
            QuantbentoError: it has no such adapter.
        """
        if name is not None and name not in self.adapters:
            has = one_of(self.adapters) if self.adapters else "none"
            raise QuantbentoError(f"there is no adapter {name!r} (loaded: {has}){did_you_mean(name, self.adapters)}")
        other = copy.copy(self)
        other.adapter = name
        return other

    def counters(self) -> dict[str, float]:
        """What the engine counts of prefixes and guessed tokens since it started, by vLLM's names without `vllm:`;
        empty for engines that do neither."""
        return {}

    @property
    @abstractmethod
    def max_model_len(self) -> int | None:
        """The most tokens a prompt and its continuation may have together; None where the model has no limit."""

    @abstractmethod
    def score(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        """Log-probabilities (natural) of token sequences.

        Args:
            windows: int64 token ids of shape (windows, tokens).
            top: how many of the most probable tokens to return per position.

        Returns:
            For the `tokens - 1` positions that have a next token: `token_logprobs`, float32
            (windows, tokens - 1), of the token that follows; `top_ids`, int32, and `top_logprobs`, float32, both
            (windows, tokens - 1, top), the most probable first.
        """

    @abstractmethod
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generated]:
        """One continuation per prompt, in order; prompts run together."""

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Generator[str, None, Generated]:
        """The continuation of one prompt, in pieces of text as they come. The generator's return value is the whole
        continuation. Closing it stops the model. Here, for engines that cannot stream, the whole text is one piece.

        Raises:
            InvalidInput: a prompt the model cannot take.
        """
        [generated] = self.generate([prompt], sampling)
        yield generated.text
        return generated
