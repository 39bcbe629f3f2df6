"""A loaded language model: a callable from a list of prompts to a list of continuations.

The counterpart of `quantbento.runtimes.predictor` for the contract `tokens`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbento.runtimes.language_model import LanguageModel, Sampling

if TYPE_CHECKING:
    from quantbento.tasks.base import Arrays
    from quantbento.tasks.text_generation import TextGeneration

LISTED = 32  # most probable tokens per position, from which agreement and KL divergence are computed


class TextGenerator:
    """A `LoadedModel` of the contract `tokens`: `generator(prompts)` is one
    `{"text", "tokens_generated", "finish_reason"}` per prompt, in order.

    Attributes:
        task: what the model is for.
        runtime: the engine that runs it.
        custom_objects: the Python objects saved with it, by name.
    """

    def __init__(self, task: TextGeneration, runtime: LanguageModel, custom_objects: dict[str, Any]) -> None:
        self.task, self.runtime, self.custom_objects = task, runtime, custom_objects

    def __call__(self, inputs: Sequence[Any], sampling: Sampling | None = None) -> list[dict[str, Any]]:
        """Greedy continuations unless `sampling` says otherwise.

        Raises:
            InvalidInput: a prompt the model cannot take; `index` says which.
        """
        return self.answers(self.check(inputs), sampling)

    def answers(self, checked: Sequence[Any], sampling: Sampling | None = None) -> list[dict[str, Any]]:
        """The answers to prompts that went through `check`."""
        prompts = [self.task.prompt_ids(item) for item in checked]
        return [
            {"text": g.text, "tokens_generated": len(g.token_ids), "finish_reason": g.finish_reason}
            for g in (self.runtime.generate(prompts, sampling or Sampling()) if prompts else ())
        ]

    def check(self, inputs: Sequence[Any]) -> list[Any]:
        """The prompts in canonical form; raises `InvalidInput` as a call does."""
        return self.task.check_all(inputs, None)

    def stream(self, item: Any, sampling: Sampling | None = None) -> Iterator[str]:
        """The continuation of one prompt, in pieces as they come.

        Raises:
            InvalidInput: a prompt the model cannot take; raised by the call itself, before the first piece.
        """
        [checked] = self.check([item])
        return self.runtime.stream(self.task.prompt_ids(checked), sampling or Sampling())

    @property
    def max_model_len(self) -> int | None:
        """The most tokens a prompt and its continuation may have together; None where there is no limit."""
        return self.runtime.max_model_len

    def with_adapter(self, name: str | None) -> TextGenerator:
        """The same with one of `runtime.adapters`, or with none; it is closed together with this one.

        Raises:
            QuantbentoError: there is no such adapter.
        """
        return TextGenerator(self.task, self.runtime.with_adapter(name), self.custom_objects)

    def rows(self, inputs: Sequence[Any]) -> Arrays:
        """What the metrics compare: the log-probabilities of the texts' windows."""
        return self.runtime.score(self.task.windows(self.check(inputs)), LISTED)

    def rows_of(self, checked: Sequence[Any]) -> Arrays:
        """The same of single texts that went through `check`, a window each: repeated or cut to the task's window, or
        to what the model takes."""
        tokens = min(self.task.options.window, self.max_model_len or self.task.options.window)
        return self.runtime.score(np.stack([np.resize(self.task.text_ids(item), tokens) for item in checked]), LISTED)

    def work(self, inputs: Sequence[Any]) -> int:
        """Continues the first tokens of each text by a fixed number, for measuring speed. Returns the tokens made."""
        options = self.task.options
        prompts = [self.task.text_ids(item)[: options.prompt_tokens] for item in self.check(inputs)]
        done = self.runtime.generate(prompts, Sampling(max_tokens=options.new_tokens, ignore_eos=True))
        return sum(len(g.token_ids) for g in done)

    def sample(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """The greedy continuation of the first text's first tokens, for people to read."""
        options = self.task.options
        ids = self.task.text_ids(self.check(inputs[:1])[0])[: options.prompt_tokens]
        done = self.runtime.generate([ids], Sampling(max_tokens=options.new_tokens))[0]
        return {"prompt": self.task.tokenizer.decode(ids, skip_special_tokens=True), "text": done.text}

    def close(self) -> None:
        """Ends the engine; the generator cannot be used afterwards."""
        self.runtime.close()
