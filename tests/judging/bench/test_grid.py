"""Stored models over a grid, in processes of their own."""

from __future__ import annotations

import pytest

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench import grid
from tests.conftest import model_store

ENCODER, TENSOR = "tiny-encoder-onnx-int8", "tiny-tensor-onnx-int8"


def contender(tag: str, home) -> grid.Contender:
    with model_store(home):
        model = store.find(tag)
    return grid.Contender.of(tag, model.path)


def synthetic() -> grid.Grid:
    """Two models, one cell, two passes of three rounds with two calls each; the second takes half the time."""
    task = type("T", (), {"throughput_unit": "inputs/s"})()
    both = [grid.Contender(tag, None, task, type("R", (), {"name": "onnx"})) for tag in ("a", "b")]
    calls = {"a": [[[0.2, 0.2], [0.4, 0.4], [0.2, 0.2]]], "b": [[[0.1, 0.1], [0.2, 0.2], [0.1, 0.1]]]}
    return grid.Grid(both, [(4, 8)], [calls, calls], {"a": [4], "b": [4]})


def test_figures_by_hand():
    first, second = synthetic().models()
    [cell] = second["grid"]
    assert first["grid"][0]["throughput"] == pytest.approx(20)
    assert (cell["batch"], cell["length"], cell["unit"]) == (4, 8, "inputs/s")
    assert cell["throughput"] == pytest.approx(40)
    assert cell["interval"] == pytest.approx([40, 40])
    assert cell["latency_ms"]["p50"] == pytest.approx(100)
    [ratio] = synthetic().ratios()
    assert (ratio["of"], ratio["to"], ratio["median"]) == ("b", "a", pytest.approx(2))


@pytest.mark.slow
def test_models_take_turns_in_processes(served_home):
    one = contender(ENCODER, served_home)
    two = grid.Contender("other", one.folder, one.task, one.runtime)
    settings = grid.Settings(batches=(1, 2), lengths=(4, 16), rounds=3, seconds=0.1, passes=2)
    passes = []
    [found] = grid.measure([one, two], settings, lambda done, total: passes.append((done, total)))
    assert passes == [(1, 2), (2, 2)]
    assert [(c["batch"], c["length"]) for c in found.models()[0]["grid"]] == [(1, 4), (2, 4), (1, 16), (2, 16)]
    assert all(c["interval"][0] <= c["throughput"] <= c["interval"][1] for c in found.models()[1]["grid"])
    assert len(found.ratios()) == 4
    alone = grid.footprint(one, threads=1, device="cpu")
    assert alone["load_seconds"] > 0
    assert alone["peak_memory_bytes"] > 10e6


@pytest.mark.slow
def test_lengths_that_a_model_cannot_take_are_told_before_anything_runs(served_home, monkeypatch):
    monkeypatch.setattr(grid, "in_fresh_process", lambda *job: pytest.fail("it ran"))
    encoder, tensor = contender(ENCODER, served_home), contender(TENSOR, served_home)
    with pytest.raises(QuantbentoError, match=r"(?s)length 2: .*length 99: allowed are 3 to 32"):
        next(grid.measure([encoder], grid.Settings(lengths=(2, 8, 99))))
    with pytest.raises(QuantbentoError, match=f"--length means nothing for {TENSOR}"):
        next(grid.measure([tensor], grid.Settings(lengths=(8,))))
    assert list(grid._lengths([encoder], grid.Settings())) == [8, 32]  # of the default ones, those that it takes


def test_a_mistake_in_a_pass_is_told_in_its_own_words(monkeypatch):
    monkeypatch.setattr(grid, "_cells", lambda contenders, settings: ([(1, None)], {}))
    monkeypatch.setattr(grid, "in_fresh_process", lambda *job: {"error": "an input is not taken"})
    with pytest.raises(QuantbentoError, match=r"^an input is not taken$"):
        next(grid.measure([], grid.Settings()))
