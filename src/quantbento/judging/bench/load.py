"""Requests to a running service, as clients send them: each waits for its answer (closed loop), or they come as they
come (open loop).

Clients of a closed loop stop asking while the server stalls, which hides the stall. An open loop does not stop:
requests are due at the times of a Poisson process, and a latency counts from the time that the request was due,
whatever held it up ("coordinated omission", Gil Tene, "How NOT to measure latency", 2013).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PERCENTILES = (50, 90, 99)
OK = "200"
PAUSE_SECONDS = 0.1


@dataclass
class Answer:
    """How one request ended: its `status` is the answer's, or what kept it from coming. Of a text that was streamed,
    the seconds until the first piece and between two tokens."""

    status: str
    units: int = 1
    first: float | None = None
    between: float | None = None


@dataclass
class Sent:
    """A request that was answered or failed; `latency` is in seconds, `lag` what the client itself was late."""

    latency: float
    lag: float
    answer: Answer


@dataclass
class Run:
    """All requests of a run. `seconds` from the first that was due to the last that was answered; `cpu_seconds` of the
    client's own process."""

    sent: list[Sent] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def report(self) -> dict[str, Any]:
        """As in bench.json. Latencies are those of requests that were answered; the others are counted by status."""
        good = [s for s in self.sent if s.answer.status == OK]
        failures = Counter(s.answer.status for s in self.sent if s.answer.status != OK)
        first = [s.answer.first for s in good if s.answer.first is not None]
        between = [s.answer.between for s in good if s.answer.between is not None]
        return {
            "requests": len(self.sent),
            "seconds": self.seconds,
            "throughput": sum(s.answer.units for s in good) / self.seconds if self.seconds else 0.0,
            "latency_ms": percentiles([s.latency for s in good]),
            "failed": sum(failures.values()),
            "failures": dict(failures),
            **({"time_to_first_token_ms": percentiles(first)} if first else {}),
            **({"inter_token_ms": percentiles(between)} if between else {}),
            "client_lag_ms": 1e3 * float(np.percentile([s.lag for s in self.sent], 99)) if self.sent else 0.0,
            "client_cpu": self.cpu_seconds / self.seconds if self.seconds else 0.0,
        }


Send = Callable[[int], Awaitable[Answer]]


def percentiles(seconds: list[float]) -> dict[str, float] | None:
    """p50, p90 and p99 in milliseconds; None of nothing."""
    return {f"p{p}": 1e3 * float(np.percentile(seconds, p)) for p in PERCENTILES} if seconds else None


def poisson_times(rate: float, seconds: float, seed: int = 0) -> np.ndarray:
    """When requests are due, in seconds from the start: float64 of shape (requests,), sorted. The gaps are exponential
    with the mean 1/rate."""
    chance = np.random.default_rng(seed)
    gaps = chance.exponential(1 / rate, int(rate * seconds * 2) + 100)
    times = np.cumsum(gaps)
    return times[times < seconds]


async def closed_loop(send: Send, clients: int, seconds: float) -> Run:
    """`clients` at once, each of which asks again as soon as it has its answer, for `seconds`."""
    run, numbers, end = Run(), iter(range(1 << 62)), time.perf_counter() + seconds

    async def client() -> None:
        while (start := time.perf_counter()) < end:
            answer = await send(next(numbers))
            run.sent.append(Sent(time.perf_counter() - start, 0.0, answer))
            if not answer.status.isdecimal():  # nobody answers: asking thousands of times a second tells no more
                await asyncio.sleep(PAUSE_SECONDS)

    with _timed(run):
        await asyncio.gather(*(client() for _ in range(clients)))
    return run


async def open_loop(send: Send, rate: float, seconds: float, seed: int = 0) -> Run:
    """`rate` requests per second on average, for `seconds`, however long the answers take."""
    run, waiting = Run(), []

    async def request(number: int, due: float) -> None:
        lag = time.perf_counter() - due
        answer = await send(number)
        run.sent.append(Sent(time.perf_counter() - due, lag, answer))

    with _timed(run):
        start = time.perf_counter()
        for number, at in enumerate(poisson_times(rate, seconds, seed)):
            if (wait := start + at - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            waiting.append(asyncio.create_task(request(number, start + at)))
        await asyncio.gather(*waiting)
    return run


@contextlib.contextmanager
def _timed(run: Run) -> Iterator[None]:
    """Notes how long a run took, and what it cost the client."""
    start, cpu = time.perf_counter(), time.process_time()
    yield
    run.seconds, run.cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
