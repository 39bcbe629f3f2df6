"""lm-eval's tasks take minutes: a step towards a goal asks them only where the goal names one."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from quantbento.core.progress import Silent
from quantbento.judging.rows import VariantRow
from quantbento.making import variant
from quantbento.recipe.gates import Gates


@pytest.mark.parametrize(
    ("gates", "asked"),
    [
        ({"min_recovery": {"perplexity": 0.9}}, 0),
        ({"min_recovery": {"lm_eval.average": 0.9}}, 1),
        ({"max_drop": {"lm_eval.idioms": 0.1}, "min_speedup": 1.0}, 1),
    ],
)
def test_a_step_asks_lm_eval_where_a_gate_names_it(gates, asked, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def evaluated_before(cache, row, folder, baseline, stage="evaluated"):
        yield stage == "evaluated"

    calls: list[str] = []
    monkeypatch.setattr(variant, "kept_evaluation", evaluated_before)
    monkeypatch.setattr(variant, "scores", lambda loaded, spec, name, progress: calls.append(name))
    monkeypatch.setattr(variant, "beside_baseline", lambda answered, baseline: {})
    monkeypatch.setattr(variant.artifact, "load", lambda *_: SimpleNamespace(close=lambda: None))
    baseline = SimpleNamespace(name="bf16", size_bytes=4, metrics={"perplexity": 2.0, "lm_eval.idioms": 1.0})
    maker = SimpleNamespace(
        job=SimpleNamespace(progress=Silent(), cache=None),
        references=SimpleNamespace(baseline=baseline, settings=SimpleNamespace(device="cpu"), lm_eval={}),
        plan=SimpleNamespace(recipe=SimpleNamespace(evaluation=SimpleNamespace(lm_eval={"tasks": ["idioms"]}))),
        threads=1,
        _results=lambda *_: [],
    )
    maker._evaluate = lambda *given: variant.Maker._evaluate(maker, *given)
    row = VariantRow("int4", "rtn", "W4A16", {}, "vllm")
    variant.Maker.evaluate(maker, row, SimpleNamespace(gates=Gates(**gates)), tmp_path)
    assert len(calls) == asked
    variant.Maker._evaluate(maker, row, maker, tmp_path)  # the judged variant is always asked
    assert len(calls) == asked + 1
