"""Language models by the token, through the service that serves them: time to the first token, between tokens, and
tokens per second, at several numbers of requests at once.

Models do not run at once, for each engine takes the memory it can get. They take turns in shuffled order, pass by
pass.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from quantbento.judging.bench import endpoint, served
from quantbento.judging.bench.intervals import between_runs

CONCURRENCIES = (1, 4, 16)


class Service(Protocol):
    """A service that is ready."""

    url: str
    load_seconds: float

    def memory_bytes(self) -> int: ...


Start = Callable[[str], AbstractContextManager[Service]]


@dataclass
class Generation:
    """What was measured of one model, pass by pass: at each concurrency the entries of `served.measure`."""

    tag: str
    runtime: str
    passes: list[list[dict[str, Any]]] = field(default_factory=list)
    load_seconds: list[float] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """A model of bench.json. Latencies are medians over the passes."""
        return {
            "tag": self.tag,
            "runtime": self.runtime,
            "grid": [],
            "load_seconds": statistics.median(self.load_seconds),
            "peak_memory_bytes": max(self.memory_bytes),
            "generation": [self._at(index) for index in range(len(self.passes[0]))],
        }

    def tokens_per_s(self, index: int) -> list[float]:
        """Of each pass, at one concurrency."""
        return [runs[index]["throughput"] for runs in self.passes]

    def _at(self, index: int) -> dict[str, Any]:
        runs = [runs[index] for runs in self.passes]
        tokens = between_runs(self.tokens_per_s(index))
        names = ("time_to_first_token_ms", "inter_token_ms")
        return {
            "concurrency": runs[0]["clients"],
            **{name: _medians([run[name] for run in runs if run.get(name)]) for name in names},
            "tokens_per_s": tokens.median,
            "interval": [tokens.low, tokens.high],
            "failed": sum(run["failed"] for run in runs),
        }


def measure(
    models: Sequence[Generation],
    start: Start,
    settings: served.Settings,
    passes: int,
    on_turn: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Adds passes to each model. `start` serves a model by its tag for as long as its block lasts.

    Raises:
        QuantbentoError: a model cannot be served.
    """
    shuffle, done = random.Random(0).shuffle, 0
    order = list(models)
    for _ in range(passes):
        shuffle(order)
        for model in order:
            with start(model.tag) as service:
                model.load_seconds.append(service.load_seconds)
                model.passes.append(served.measure(endpoint.find(service.url, {}), settings))
                model.memory_bytes.append(service.memory_bytes())
            done += 1
            on_turn(done, passes * len(models))


def ratios(models: Sequence[Generation]) -> list[dict[str, Any]]:
    """Tokens per second of each other model over the first's; `batch` is the concurrency."""
    first, *others = models
    found = []
    for other in others:
        for index, run in enumerate(first.passes[0]):
            pairs = zip(other.tokens_per_s(index), first.tokens_per_s(index), strict=True)
            interval = between_runs([own / base for own, base in pairs])
            found.append({"of": other.tag, "to": first.tag, "batch": run["clients"], "length": None} | vars(interval))
    return found


def _medians(entries: Sequence[dict[str, float]]) -> dict[str, float] | None:
    if not entries:
        return None
    return {name: statistics.median(entry[name] for entry in entries) for name in entries[0]}
