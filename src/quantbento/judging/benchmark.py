"""Speed and memory. Models take turns in shuffled rounds and are compared within a round. Timing them one after the
other was off by up to 2.6x on shared machines.

A round calls each model (a contender) once with the same inputs. `speedup` is the median over the rounds of
(reference's seconds / contender's seconds), with its 10th and 90th percentile.
"""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.recipe import Benchmark
from quantbento.runtimes.loaded import LoadedModel

FEWEST_ROUNDS = 5  # done however long they take, unless a recipe asks for fewer
BUSY = "the machine was busy"
UNSTEADY = 1.5  # 90th / 10th percentile of one model's call times; an idle machine stays below 1.3


@dataclass(frozen=True)
class Speedup:
    median: float
    p10: float
    p90: float


@dataclass(frozen=True)
class Timing:
    """`latency_ms` holds p50, p90 and p99 of a call with one input. `throughput` is that of a call with many inputs
    (median round), in the task's `throughput_unit`."""

    latency_ms: dict[str, float]
    throughput: float
    seconds: list[float]

    def report(self) -> dict[str, Any]:
        return {"latency_ms": self.latency_ms, "throughput": self.throughput}


def measure(
    contenders: dict[str, LoadedModel],
    inputs: Sequence[Any],
    settings: Benchmark,
    on_round: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Timing]:
    """The timings of every contender, by name. `inputs` are repeated up to `settings.items` per call."""
    many = [inputs[i % len(inputs)] for i in range(settings.items)]
    shuffle = random.Random(0).shuffle
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    singles: dict[str, list[float]] = {name: [] for name in names}
    each = -(-settings.latency_calls // settings.rounds)
    made = {name: contenders[name].work(many) for name in names}  # also warms up allocators, kernels, thread pools
    for name in names:
        if contenders[name].runtime.compiles_shapes:
            for item in inputs[: each * settings.rounds]:
                contenders[name].work([item])
    start = time.perf_counter()
    for round_ in range(settings.rounds):
        shuffle(names)
        for name in names:
            seconds[name].append(_seconds(contenders[name], many))
        shuffle(names)
        for name in names:
            for call in range(each):
                item = inputs[(round_ * each + call) % len(inputs)]
                singles[name].append(_seconds(contenders[name], [item]))
        on_round(round_ + 1, settings.rounds)
        if round_ + 1 >= FEWEST_ROUNDS and time.perf_counter() - start > settings.max_seconds:
            break
    return {name: _timing(seconds[name], singles[name], made[name]) for name in contenders}


def speedup(reference: Timing, contender: Timing) -> Speedup:
    """How many times as fast as the reference the contender is, from paired rounds."""
    of = ratios(reference, contender)
    return Speedup(*(float(np.percentile(of, p)) for p in (50, 10, 90)))


def ratios(reference: Timing, contender: Timing) -> list[float]:
    """The reference's seconds over the contender's, one per round."""
    return [r / c for r, c in zip(reference.seconds, contender.seconds, strict=False)]


def unsteady(timings: dict[str, Timing]) -> str | None:
    """A note if the machine was busy with something else, else None. Pairing evens out a slow machine, but not one
    where other work takes a core away: PyTorch's threads then wait for each other, ONNX Runtime's do not."""
    spread = {n: float(np.percentile(t.seconds, 90) / np.percentile(t.seconds, 10)) for n, t in timings.items()}
    worst = max(spread, key=lambda name: spread[name])
    if spread[worst] < UNSTEADY:
        return None
    return f"{BUSY}: calls of {worst} varied by {spread[worst]:.1f}x. Measure again on an idle one"


@dataclass(frozen=True)
class Footprint:
    """`load_seconds`: from a folder to a model that can be called, the engine's import included; None where it was not
    measured. `peak_memory_bytes`: resident memory, not a GPU's."""

    load_seconds: float | None
    peak_memory_bytes: int


def footprint(predictor: LoadedModel, artifact: Path, inputs: Sequence[Any], threads: int) -> Footprint:
    """What loading an artifact and answering `inputs` takes in a fresh process. An engine with a process of its own
    has that already, and tells its peak.

    The process starts in an empty folder, so an artifact that only loads beside the user's own code fails here. If the
    task or the runtime is the user's own (`module:Class`), that code is needed, and the process starts in the current
    folder.

    Raises:
        QuantbentoError: the artifact does not load or does not run.
    """
    if (own := predictor.runtime.peak_memory_bytes()) is not None:
        return Footprint(None, own)
    job = {"artifact": artifact, "inputs": list(inputs), "threads": threads, "device": predictor.runtime.device}
    here = needs_users_code(type(predictor.task), type(predictor.runtime))
    return Footprint(**in_fresh_process("fresh_process", job, here))


def in_fresh_process(module: str, job: dict[str, Any], here: bool) -> Any:
    """What a module of this room prints as JSON, run as a process of its own.

    Args:
        module: its name below `quantbento.judging`.
        job: what it reads, pickled, from standard input.
        here: start in the current folder, for a model that needs the user's own code; else in an empty one.

    Raises:
        QuantbentoError: with the process's last line.
    """
    with tempfile.TemporaryDirectory() as empty:
        child = subprocess.run(
            [sys.executable, "-m", f"quantbento.judging.{module}"],
            input=pickle.dumps(job),
            cwd=Path.cwd() if here else empty,
            capture_output=True,
        )
    if child.returncode != 0:
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        raise QuantbentoError(f"the artifact does not load in a process of its own: {last[0]}")
    return json.loads(child.stdout.splitlines()[-1])


def needs_users_code(task: type, runtime: type) -> bool:
    """Whether one of them is the user's own (`module:Class`)."""
    return any(":" in registry.name_of(kind, part) for kind, part in (("task", task), ("runtime", runtime)))


def _seconds(predictor: LoadedModel, inputs: Sequence[Any]) -> float:
    start = time.perf_counter()
    predictor.work(inputs)
    return time.perf_counter() - start


def _timing(seconds: list[float], singles: list[float], made: int) -> Timing:
    latency = {f"p{p}": 1e3 * float(np.percentile(singles, p)) for p in (50, 90, 99)}
    return Timing(latency, made / float(np.median(seconds)), seconds)
