"""What happens at each step of Transformers' generation: each row gets a token, chosen for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.continuation import Continuation
from quantbento.runtimes.language_model import Sampling


class NewTokens(StoppingCriteria):
    """Hands each row its new token, and says which rows are done. Transformers goes on with all rows until the last one
    is done; the further tokens of finished rows are ignored."""

    def __init__(self, rows: list[Continuation], tell: Callable[[str], None] = lambda piece: None) -> None:
        self._rows, self._tell = rows, tell

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            if row.finish_reason is None:
                self._tell(row.add(token))
        return torch.tensor([row.finish_reason is not None for row in self._rows], device=input_ids.device)


class Choice(LogitsProcessor):
    """Draws the next token of each row and makes all others impossible. Each row has its own random generator, so its
    text does not depend on the other rows, and the process's random state stays as it was."""

    def __init__(self, sampling: Sampling, rows: int, device: torch.device) -> None:
        self._sampling = sampling
        self._generators = [torch.Generator(device) for _ in range(rows)]
        for generator in self._generators:
            if sampling.seed is None:
                generator.seed()
            else:
                generator.manual_seed(sampling.seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        refuse_nan(scores)
        if self._sampling.temperature == 0:
            return scores
        highest = scores.max(-1, keepdim=True).values  # subtracted, so that a tiny temperature does not overflow
        # A temperature that is 0 in the type of the scores would make 0 / 0 of the highest.
        temperature = max(self._sampling.temperature, torch.finfo(scores.dtype).tiny)
        probabilities = ((scores - highest) / temperature).softmax(-1)
        probabilities, order = probabilities.sort(descending=True)
        if self._sampling.top_p < 1:
            probabilities[probabilities.cumsum(-1) - probabilities >= self._sampling.top_p] = 0
        drawn = [torch.multinomial(p, 1, generator=g) for p, g in zip(probabilities, self._generators, strict=True)]
        tokens = order.gather(1, torch.stack(drawn))
        return torch.full_like(scores, float("-inf")).scatter(1, tokens, 0.0)


def refuse_nan(scores: torch.Tensor) -> None:
    if scores.isnan().any():
        raise QuantbentoError("the model's logits are not numbers (NaN): its quantization or its weights are broken")
