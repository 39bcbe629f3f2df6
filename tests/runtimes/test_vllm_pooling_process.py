"""Calls from many threads share one process; one that dies fails the calls it had, and is there for the next."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.vllm_pooling_process import PoolingProcess
from tests.fake_pooling_engine import DEADLY, LONG

FAKE = "tests.fake_pooling_engine"


@pytest.fixture
def process():
    process = PoolingProcess(("folder", "embed", "MEAN", {}), {}, FAKE)
    yield process
    process.close()


def pool(process, *ids):
    return [row.tolist()[:2] for row in process.ask("pool", [list(sequence) for sequence in ids], None)]


def test_a_call_gets_its_own_rows_in_order(process):
    assert pool(process, (5, 6, 7), (8,)) == [[3, 5], [1, 8]]


def test_calls_from_many_threads_get_their_own(process):
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: pool(process, (n, 1), (n,)), range(300)))
    assert answers == [[[2, n], [1, n]] for n in range(300)]


def test_what_the_engine_refuses_fails_its_call_alone(process):
    with pytest.raises(QuantbentoError, match=r"^vLLM: ValueError: too long$"):
        pool(process, (1,), (LONG,))
    assert pool(process, (2,)) == [[1, 2]]


def test_a_process_that_died_is_started_again_for_the_next_call(process):
    with pytest.raises(QuantbentoError, match=r"vLLM process ended \(RuntimeError: CUDA error: out of luck\)"):
        pool(process, (DEADLY,))
    assert pool(process, (3,)) == [[1, 3]]


def test_an_engine_that_does_not_start_says_why():
    with pytest.raises(QuantbentoError, match=r"^vLLM: ValueError: no such model$"):
        PoolingProcess(("wrong", "embed", "MEAN", {}), {}, FAKE)


def test_the_process_ends_when_it_is_closed(process):
    [child] = [c for c in psutil.Process().children() if FAKE in c.cmdline()]
    assert process.ask("peak_memory_bytes") > 1e6
    process.close()
    process.close()
    deadline = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    with pytest.raises(QuantbentoError, match="has ended already"):
        pool(process, (1,))
