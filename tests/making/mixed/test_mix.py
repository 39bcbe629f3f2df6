"""One layer of a model suffers from quantization: it alone gets full precision, whatever asked for it."""

from __future__ import annotations

import pytest

from quantbento import store
from quantbento.core.progress import Silent
from quantbento.making import pipeline

PROJECT = '''
import numpy as np, torch
from torch import nn

def model():
    """Layer "2" reads one channel that is 1000 times larger than the others: in INT8 they would all be 0."""
    torch.manual_seed(0)
    layers = nn.Sequential(*[nn.Linear(32, 32) for _ in range(5)])
    with torch.no_grad():
        layers[1].bias[5] = 1000
        layers[2].weight[:, 5] = 0
    return layers

def inputs():
    return {"input": np.random.default_rng(0).normal(size=(24, 32)).astype(np.float32)}
'''


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def run(tmp_path, monkeypatch, bento_home):
    (tmp_path / "project_with_an_outlier.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path / "cache"))

    def save(*variants, **changes):
        recipe = {
            "schema_version": 1,
            "name": "outlier",
            "task": "tensor",
            "model": {"factory": "project_with_an_outlier:model"},
            "evaluation": {"factory": "project_with_an_outlier:inputs"},
            "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False},
            "variants": [{"name": f"v{n}"} | variant for n, variant in enumerate(variants)],
        }
        told = Told()
        return pipeline.save(recipe | changes, progress=told).variants, told.lines

    return save


def check_only_the_bad_layer_is_kept(row):
    last = row.mixed["steps"][-1]
    kept = [step["kept"] for step in row.mixed["steps"] if step["holds"]]
    assert row.error is None
    assert row.passed and row.mixed["holds"] and ["2"] in kept
    assert row.mixed["steps"][0]["kept"] == [] and not row.mixed["steps"][0]["holds"]
    assert row.quantized["parameters"] == 4 * 32 * 32
    assert row.metrics["sqnr_db"] > 25 > row.mixed["steps"][0]["metrics"]["sqnr_db"]
    assert last["seconds"] > 0


def test_a_goal_and_a_failed_gate_lead_to_the_same(run):
    limit = {"min": {"sqnr_db": 25}}
    (mixed, repaired, uniform), lines = run(
        {"quantizer": "torch-dynamic", "mixed": limit},
        {"quantizer": "torch-dynamic", "gates": limit, "on_fail": "mixed"},
        {"quantizer": "torch-dynamic", "gates": {"min": {"sqnr_db": 1}}, "on_fail": "mixed"},
    )
    check_only_the_bad_layer_is_kept(mixed)
    check_only_the_bad_layer_is_kept(repaired)
    assert mixed.mixed["goal"] == repaired.mixed["goal"] == {"min": {"sqnr_db": 25.0}}
    assert (mixed.mixed["because"], repaired.mixed["because"]) == ("the recipe asks for it", "a gate failed")
    assert "torch-dynamic" in mixed.mixed["ranked_by"]
    assert uniform.passed and uniform.mixed is None  # nothing to repair
    assert [gate["rule"] for gate in mixed.gates] == ["min"]  # the goal is a gate
    said = [line for line in lines if line.startswith("v0: step") and "bits per weight" in line]
    assert len(said) == len(mixed.mixed["steps"]) and "does not hold" in said[0]
    model = store.find(mixed.tag)
    assert model.verify()["variant"]["mixed"]["holds"]


def test_a_goal_that_holds_at_once_takes_one_step(run):
    (row,), _ = run({"quantizer": "torch-dynamic", "mixed": {"min": {"sqnr_db": 1}}})
    assert [step["kept"] for step in row.mixed["steps"]] == [[]]
    assert row.mixed["ranked_by"] is None and row.passed


def test_a_goal_that_never_holds_is_a_failed_gate(run):
    (row,), lines = run({"quantizer": "torch-dynamic", "mixed": {"min": {"sqnr_db": 200}}})
    assert not row.passed and row.tag is None and row.error is None
    assert not row.mixed["holds"] and 2 <= len(row.mixed["steps"]) <= 4
    assert any("its goal did not hold in any step" in line for line in lines)


def test_the_most_harmful_layers_within_an_average(run):
    (row,), _ = run(
        {"quantizer": "onnx-weights", "options": {"bits": 4, "accuracy_level": 1}, "mixed": {"avg_bits": 12}}
    )
    uniform, chosen = row.mixed["steps"]
    assert (uniform["kept"], uniform["eight_bit"], uniform["avg_bits"]) == ([], [], 5.125)
    assert len(chosen["eight_bit"]) + len(chosen["kept"]) >= 4
    assert 9 < chosen["avg_bits"] <= 12
    assert chosen["metrics"]["sqnr_db"] > uniform["metrics"]["sqnr_db"] + 15
    assert row.passed and row.metrics == chosen["metrics"]
