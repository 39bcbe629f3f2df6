"""A runtime of a user's own for language models, as small as its contract allows: it tells no pieces of a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from quantbento.core.errors import InvalidInput
from quantbento.runtimes.language_model import Generated, LanguageModel, Sampling

LIMIT = 64


class Parrot(LanguageModel):
    name = "parrot"
    modules = ()
    distributions = ()

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int) -> Self:
        return cls()

    @property
    def max_model_len(self) -> int:
        return LIMIT

    def score(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        raise NotImplementedError("nobody judges it")

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generated]:
        if any(len(prompt) > LIMIT for prompt in prompts):
            raise InvalidInput(f"the model takes at most {LIMIT}")
        return [Generated(f"{len(prompt)} tokens", [5] * sampling.max_tokens, "length") for prompt in prompts]
