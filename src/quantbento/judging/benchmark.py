"""Speed and memory. Contenders take turns in shuffled rounds and are compared within a round: timing them one
after the other was off by up to 2.6x on shared machines.

A round calls each contender once with the same inputs. `speedup` is the median over the rounds of
(reference's seconds / contender's seconds), with its 10th and 90th percentile.
"""

from __future__ import annotations

import json
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

from quantbento.core.errors import QuantbentoError
from quantbento.recipe import Benchmark
from quantbento.runtimes.artifact import describe
from quantbento.runtimes.loaded import LoadedModel

FEWEST_ROUNDS = 5  # whatever they take, unless a recipe asks for fewer
UNSTEADY = 1.5  # slowest tenth of a contender's calls over its fastest; an idle machine stays below 1.3


@dataclass(frozen=True)
class Speedup:
    median: float
    p10: float
    p90: float


@dataclass(frozen=True)
class Timing:
    """`latency_ms` are p50, p90 and p99 of a call with one input; `throughput` is what a call with many makes in a
    second (median round), in the task's `throughput_unit`."""

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
    """Times every contender, by name. `inputs` are repeated to `settings.items` a call."""
    many = [inputs[i % len(inputs)] for i in range(settings.items)]
    shuffle = random.Random(0).shuffle
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    singles: dict[str, list[float]] = {name: [] for name in names}
    each = -(-settings.latency_calls // settings.rounds)
    made = {name: contenders[name].work(many) for name in names}  # warm-up too: allocators, kernels, thread pools
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
    """How many times as fast the contender is, pair by pair."""
    ratios = np.asarray([r / c for r, c in zip(reference.seconds, contender.seconds, strict=False)])
    return Speedup(*(float(np.percentile(ratios, p)) for p in (50, 10, 90)))


def unsteady(timings: dict[str, Timing]) -> str | None:
    """What to say if the machine was busy with something else. Pairing evens out a slow machine, not one whose
    other work takes a core away: PyTorch's threads wait for each other then, ONNX Runtime's do not."""
    spread = {n: float(np.percentile(t.seconds, 90) / np.percentile(t.seconds, 10)) for n, t in timings.items()}
    worst = max(spread, key=lambda name: spread[name])
    if spread[worst] < UNSTEADY:
        return None
    return f"the machine was busy: calls of {worst} varied by {spread[worst]:.1f}x. Measure again on an idle one"


def peak_memory_bytes(predictor: LoadedModel, artifact: Path, inputs: Sequence[Any], threads: int) -> int:
    """Peak resident memory of the predictor's engine where it has a process of its own; otherwise of a fresh process
    that loads its artifact and answers `inputs`.

    The process starts in an empty folder: an artifact that loads only beside the user's own code fails here. One whose
    task or runtime is the user's own (`module:Class`) needs that code, and starts in the current folder.

    Raises:
        QuantbentoError: the artifact does not load or does not run.
    """
    if (own := predictor.runtime.peak_memory_bytes()) is not None:
        return own
    with tempfile.TemporaryDirectory() as empty:
        job = json.dumps({"artifact": str(artifact), "inputs": _plain(inputs), "threads": threads})
        child = subprocess.run(
            [sys.executable, "-m", "quantbento.judging.peak_memory"],
            input=job,
            cwd=Path.cwd() if _needs_users_code(artifact) else empty,
            capture_output=True,
            text=True,
        )
    if child.returncode != 0:
        last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        raise QuantbentoError(f"the artifact does not load in a process of its own: {last[0]}")
    return int(json.loads(child.stdout.splitlines()[-1])["peak_memory_bytes"])


def _needs_users_code(folder: Path) -> bool:
    described = describe(folder)
    return any(":" in described[part] for part in ("task", "runtime"))


def _seconds(predictor: LoadedModel, inputs: Sequence[Any]) -> float:
    start = time.perf_counter()
    predictor.work(inputs)
    return time.perf_counter() - start


def _timing(seconds: list[float], singles: list[float], made: int) -> Timing:
    latency = {f"p{p}": 1e3 * float(np.percentile(singles, p)) for p in (50, 90, 99)}
    return Timing(latency, made / float(np.median(seconds)), seconds)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value
