"""What Prometheus is told of texts that a model in the service's process generates.

vLLM tells the same of its own, by its names: `vllm:time_to_first_token_seconds`, `vllm:generation_tokens_total` and
`vllm:e2e_request_latency_seconds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from quantbento.runtimes.language_model import Generated
from quantbento.serving.metric import counter, histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
Tell = Callable[[int, str, str | None], None]  # a choice's index, the next piece of its text, why it ended


class GenerationMetrics:
    """Of one model."""

    def __init__(self, model: str) -> None:
        """`model` is the tag."""
        labels = {"model": model}
        told = "Seconds from a request to the first piece of its text"
        self.first_token = histogram("time_to_first_token_seconds", told, labels, SECONDS)
        self.tokens = counter("generated_tokens", "Tokens that were generated", labels)
        told = "Seconds from a request to the end of its last text, waiting included"
        self.seconds = histogram("generation_seconds", told, labels, SECONDS)


class Watched:
    """One request's generation, from now on."""

    def __init__(self, metrics: GenerationMetrics, tell: Tell) -> None:
        self._metrics, self._tell, self._start, self._begun = metrics, tell, time.perf_counter(), False

    def tell(self, index: int, piece: str, finish_reason: str | None) -> None:
        """Passes a piece on, as it is."""
        if not self._begun and piece:
            self._begun = True
            self._metrics.first_token.observe(time.perf_counter() - self._start)
        self._tell(index, piece, finish_reason)

    def done(self, generated: Sequence[Generated]) -> None:
        """All texts are there."""
        self._metrics.seconds.observe(time.perf_counter() - self._start)
        self._metrics.tokens.inc(sum(len(each.token_ids) for each in generated))
