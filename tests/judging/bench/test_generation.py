"""Language models take turns as services; figures by hand."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from quantbento.judging.bench import endpoint, generation, served


def test_turns_and_figures(monkeypatch):
    order, running = [], []

    @contextlib.contextmanager
    def start(tag: str):
        assert not running, "two models at once"
        running.append(tag)
        order.append(tag)
        yield SimpleNamespace(url=tag, load_seconds=2.0, memory_bytes=lambda: 5)
        running.pop()

    def measure(url: str, settings: served.Settings) -> list[dict]:
        speed = {"a": 10.0, "b": 20.0}[url]
        spans = {"time_to_first_token_ms": {"p50": 7.0}, "inter_token_ms": {"p50": 3.0}}
        return [{"clients": n, "throughput": n * speed, "failed": 0, **spans} for n in settings.clients]

    monkeypatch.setattr(endpoint, "find", lambda url, headers: url)
    monkeypatch.setattr(served, "measure", measure)
    models = [generation.Generation(tag, "vllm") for tag in "ab"]
    turns = []
    generation.measure(models, start, served.Settings(clients=[1, 4]), 3, lambda *turn: turns.append(turn))
    assert sorted(order) == ["a", "a", "a", "b", "b", "b"]
    assert turns[-1] == (6, 6)
    report = models[1].report()
    assert (report["tag"], report["load_seconds"], report["peak_memory_bytes"]) == ("b", 2.0, 5)
    at = report["generation"][1]
    assert (at["concurrency"], at["tokens_per_s"]) == (4, pytest.approx(80))
    assert at["time_to_first_token_ms"] == {"p50": 7.0}
    assert [r["median"] for r in generation.ratios(models)] == pytest.approx([2, 2])
