"""Loaded models that work without something that makes them fast, to see what it is worth. Only `work` differs: what
they answer is the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.loaded import LoadedModel
from quantbento.runtimes.text_generator import TextGenerator


class _Without:
    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loaded, name)


class WithoutBatching(_Without):
    """Inputs one after the other."""

    def work(self, inputs: Sequence[Any]) -> int:
        return sum(self._loaded.work([item]) for item in inputs)


class WithoutCache(_Without):
    """Texts continued without a KV cache: every token reads the whole prompt again, as a new prompt of one more token.

    Where an engine caches prompts between calls (vLLM's prefix caching), that has to be off.
    """

    _loaded: TextGenerator

    def work(self, inputs: Sequence[Any]) -> int:
        task, runtime = self._loaded.task, self._loaded.runtime
        options = task.options
        prompts = [task.text_ids(item)[: options.prompt_tokens] for item in self._loaded.check(inputs)]
        made = 0
        for _ in range(options.new_tokens):
            for prompt, done in zip(prompts, runtime.generate(prompts, Sampling(1, ignore_eos=True)), strict=True):
                prompt += done.token_ids
                made += len(done.token_ids)
        return made
