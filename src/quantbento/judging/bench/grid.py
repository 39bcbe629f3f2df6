"""Stored models side by side over a grid of batch size and length, in passes of shuffled rounds.

1. every input is made before anything is loaded, so that what a model cannot take is known first
2. each pass is a process of its own: it loads all models, and calls them in turn, cell by cell
3. of each pass a median, of all passes an interval (`quantbento.judging.bench.intervals`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench import inputs
from quantbento.judging.bench.intervals import FEWEST_PASSES, between_runs, of_ratio
from quantbento.judging.bench.one_pass import medians
from quantbento.judging.benchmark import in_fresh_process, needs_users_code
from quantbento.runtimes import artifact

BATCHES, LENGTHS = (1, 8, 32), (8, 32, 128)
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Settings:
    """
    Attributes:
        batches, lengths: of the grid. No lengths: those of `LENGTHS` that every model takes.
        rounds: of each pass, at most.
        seconds: for the rounds of all passes together; a pass does three rounds however long they take.
        passes: processes, one after the other.
        threads: CPU threads of a model.
        new_tokens: that a language model adds to each prompt.
    """

    batches: Sequence[int] = BATCHES
    lengths: Sequence[int] | None = None
    rounds: int = 9
    seconds: float = 120
    passes: int = 5
    threads: int = 1
    device: str = "auto"
    new_tokens: int = 32
    samples: Sequence[Any] = ()


@dataclass(frozen=True)
class Contender:
    """A stored model: what it is called, its artifact folder, and its task."""

    tag: str
    folder: Path
    task: Any
    runtime: type

    @classmethod
    def of(cls, tag: str, folder: Path) -> Contender:
        kind = registry.runtime(artifact.describe(folder)["runtime"])
        return cls(tag, folder, artifact.load_task(folder), kind)

    @property
    def needs_users_code(self) -> bool:
        return needs_users_code(type(self.task), self.runtime)


@dataclass
class Grid:
    """What was measured so far: by model and cell, the calls of every pass, in seconds."""

    contenders: Sequence[Contender]
    cells: list[tuple[int, int | None]]
    calls: list[dict[str, list[list[list[float]]]]] = field(default_factory=list)
    made: dict[str, list[int]] = field(default_factory=dict)

    def models(self) -> list[dict[str, Any]]:
        """The `grid` of each model, as in bench.json."""
        return [
            {
                "tag": c.tag,
                "runtime": c.runtime.name,  # type: ignore[attr-defined]
                "grid": [self._cell(c, index) for index in range(len(self.cells))],
            }
            for c in self.contenders
        ]

    def ratios(self) -> list[dict[str, Any]]:
        """How many times as fast each other model is as the first."""
        first, *others = self.contenders
        return [
            {"of": other.tag, "to": first.tag, "batch": batch, "length": length}
            | vars(of_ratio(self._rounds(first, index), self._rounds(other, index)))
            for other in others
            for index, (batch, length) in enumerate(self.cells)
        ]

    def _cell(self, contender: Contender, index: int) -> dict[str, Any]:
        every = [call for calls in self.calls for round_ in calls[contender.tag][index] for call in round_]
        made = self.made[contender.tag][index]
        throughput = between_runs([made / float(np.median(p)) for p in self._rounds(contender, index)])
        batch, length = self.cells[index]
        return {
            "batch": batch,
            "length": length,
            "latency_ms": {f"p{p}": 1e3 * float(np.percentile(every, p)) for p in PERCENTILES},
            "throughput": throughput.median,
            "unit": contender.task.throughput_unit,
            "interval": [throughput.low, throughput.high],
        }

    def _rounds(self, contender: Contender, index: int) -> list[list[float]]:
        return [medians(calls[contender.tag][index]) for calls in self.calls]


def measure(
    contenders: Sequence[Contender],
    settings: Settings,
    on_pass: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Grid]:
    """The figures after each pass but the first, so that an interrupted run loses one pass.

    Raises:
        QuantbentoError: lists every length that a model cannot take; or a model does not load.
    """
    cells, made = _cells(contenders, settings)
    grid = Grid(contenders, cells)
    for pass_ in range(settings.passes):
        job = {
            "models": {c.tag: {"folder": c.folder, "inputs": made[c.tag]} for c in contenders},
            "cells": cells,
            "rounds": settings.rounds,
            "seconds": settings.seconds / settings.passes,
            "threads": settings.threads,
            "device": settings.device,
            "seed": pass_,
            "new_tokens": settings.new_tokens,
        }
        done = in_fresh_process("bench.one_pass", job, any(c.needs_users_code for c in contenders))
        if "error" in done:
            raise QuantbentoError(done["error"])
        grid.calls.append(done["calls"])
        grid.made = done["made"]
        on_pass(pass_ + 1, settings.passes)
        if pass_ + 1 >= FEWEST_PASSES:
            yield grid


def common_device(contenders: Sequence[Contender], asked: str) -> str:
    """The one device that all of them run on here; `asked` may be `auto`.

    Raises:
        QuantbentoError: one cannot run on what was asked for, or they would run on several.
    """
    found = {c.tag: artifact.device_of(artifact.describe(c.folder), asked, c.tag) for c in contenders}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{tag} on {device}" for tag, device in found.items())
        raise QuantbentoError(f"models are compared on one device; these run on several: {told}. Add --device cpu")
    return next(iter(found.values()))


def footprint(contender: Contender, threads: int, device: str, samples: Sequence[Any] = ()) -> dict[str, Any]:
    """`load_seconds` and `peak_memory_bytes` of a model alone, in a process of its own."""
    few = list(samples[:1]) or contender.task.examples()
    job = {"artifact": contender.folder, "inputs": few, "threads": threads, "device": device}
    return in_fresh_process("fresh_process", job, contender.needs_users_code)


def _cells(
    contenders: Sequence[Contender], settings: Settings
) -> tuple[list[tuple[int, int | None]], dict[str, list[list[Any]]]]:
    """The cells of the grid, and by model the inputs of each."""
    problems, made = [], {c.tag: [] for c in contenders}  # type: ignore[var-annotated]
    cells = [(batch, length) for length in _lengths(contenders, settings) for batch in settings.batches]
    for contender in contenders:
        for batch, length in cells:
            try:
                made[contender.tag].append(inputs.made(contender.task, batch, length, settings.samples))
            except QuantbentoError as error:
                problems.append(f"{contender.tag}: {error}")
    if problems:
        raise QuantbentoError("\n".join(["what is asked for cannot be measured:", *dict.fromkeys(problems)]))
    return cells, made


def _lengths(contenders: Sequence[Contender], settings: Settings) -> Sequence[int | None]:
    fixed = [c.tag for c in contenders if not inputs.has_lengths(c.task)]
    if settings.lengths and fixed:
        raise QuantbentoError(f"--length means nothing for {', '.join(fixed)}, whose items have one size; leave it out")
    if fixed:
        return [None]
    if settings.lengths:
        return settings.lengths
    if not hasattr(contenders[0].task, "text") and contenders[0].task.contract == "arrays":
        return [None]  # free axes mean something else in each model: the user names sizes, or gets the model's own
    limits = [limit for c in contenders if (limit := inputs.longest(c.task))]
    return [length for length in LENGTHS if length <= min(limits, default=length)] or [min(limits)]
