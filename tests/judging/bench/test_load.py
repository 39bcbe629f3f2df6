"""The loads: when requests are due, and what a stalled server does to latencies."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from quantbento.judging.bench.load import Answer, closed_loop, open_loop, percentiles, poisson_times


def test_the_open_loops_schedule_is_a_poisson_process():
    times = poisson_times(rate=50, seconds=200, seed=3)
    gaps = np.diff(times)
    assert len(times) == pytest.approx(50 * 200, rel=0.03)
    assert (gaps > 0).all()
    assert times[-1] < 200
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.05)  # exponential: as much as the mean
    assert np.corrcoef(gaps[:-1], gaps[1:])[0, 1] == pytest.approx(0, abs=0.05)
    counts = np.histogram(times, bins=200, range=(0, 200))[0]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.25)  # of a Poisson number
    assert (poisson_times(50, 200, 3) == times).all()
    assert (poisson_times(50, 200, 4)[:100] != times[:100]).all()


class Stalling:
    """Answers in 1 ms, one request after the other, but for a stall of 0.4 s at its third."""

    def __init__(self) -> None:
        self.lock, self.served = asyncio.Lock(), 0

    async def __call__(self, number: int) -> Answer:
        async with self.lock:
            self.served += 1
            await asyncio.sleep(0.4 if self.served == 3 else 0.001)
            return Answer("200")


def test_an_open_loop_counts_what_a_stall_held_up():
    run = asyncio.run(open_loop(Stalling(), rate=50, seconds=0.8, seed=0))
    assert len(run.sent) == len(poisson_times(50, 0.8, 0))
    assert run.report()["latency_ms"]["p90"] > 150  # of those that were due while it stalled

    closed = asyncio.run(closed_loop(Stalling(), clients=1, seconds=0.8)).report()
    assert closed["latency_ms"]["p90"] < 100  # one client met it once, and did not ask meanwhile


def test_a_closed_loop_keeps_its_clients_busy_and_counts_failures_by_status():
    under_way, most = 0, 0

    async def send(number: int) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return Answer("503") if number % 4 == 0 else Answer("200", units=2)

    found = asyncio.run(closed_loop(send, clients=3, seconds=0.3)).report()
    assert most == 3
    assert found["failures"] == {"503": found["failed"]}
    assert found["failed"] == pytest.approx(found["requests"] / 4, abs=1)
    good = found["requests"] - found["failed"]
    assert found["throughput"] == pytest.approx(2 * good / found["seconds"])


def test_who_is_not_answered_does_not_spin():
    async def send(number: int) -> Answer:
        return Answer("ClientConnectorError")

    found = asyncio.run(closed_loop(send, clients=1, seconds=0.25)).report()
    assert found["requests"] <= 4
    assert found["latency_ms"] is None


def test_texts_by_the_token():
    async def send(number: int) -> Answer:
        await asyncio.sleep(0.001)
        return Answer("200", 8, 0.02, 0.003)

    found = asyncio.run(closed_loop(send, 1, 0.05)).report()
    assert found["time_to_first_token_ms"]["p99"] == pytest.approx(20)
    assert found["inter_token_ms"]["p50"] == pytest.approx(3)


def test_percentiles_are_in_milliseconds():
    assert percentiles([0.001, 0.002, 0.003])["p50"] == pytest.approx(2)
    assert percentiles([]) is None
