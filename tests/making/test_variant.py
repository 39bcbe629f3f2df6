"""What takes minutes is done once: lm-eval's tasks where a goal names one, quantizing for all settings of an engine."""

from __future__ import annotations

import contextlib
import json
import math
from types import SimpleNamespace

import pytest

from quantbento import store
from quantbento.core.progress import Silent
from quantbento.judging.decoding_gates import NOT_ASKED
from quantbento.judging.rows import VariantRow
from quantbento.making import pipeline, variant
from quantbento.recipe.gates import Gates
from quantbento.runtimes import artifact
from quantbento.tasks.base import Metric
from tests import trained_llama as trained
from tests.minimal_recipe import minimal
from tests.trained_llama import tensors_of


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


def test_gates_on_decoding_are_judged_beside_those_on_metrics(tmp_path):
    row = VariantRow("ngram", "rtn", "W4A16", {}, "vllm", metrics={"perplexity": 3.0}, size_ratio=0.4)
    gates = Gates(max={"perplexity": 4}, min={"decoding.speedup": 1})
    baseline = SimpleNamespace(metrics={"perplexity": 2.9})
    resolved = SimpleNamespace(metrics={"perplexity": Metric(-1)}, recovering=("perplexity",))
    maker = variant.Maker(
        SimpleNamespace(resolved=resolved), None, None, SimpleNamespace(baseline=baseline), None, 1, False
    )
    for speedup, passed in ((0.9, False), (1.1, True)):
        results = maker._results(row, SimpleNamespace(gates=gates), 1.0, {"decoding.speedup": speedup})
        assert {r.metric: r.passed for r in results} == {"perplexity": True, "decoding.speedup": passed}
    assert all(r.passed for r in maker._results(row, SimpleNamespace(gates=gates), math.inf, NOT_ASKED))


@pytest.mark.slow
def test_variants_that_differ_in_their_engine_alone_are_quantized_once(
    trained_llama, tmp_path, bento_home, monkeypatch
):
    monkeypatch.setenv("QUANTBENTO_CACHE_GB", "1")
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(trained.texts()[1][0])
    recipe = minimal(
        name="llama",
        task="text-generation",
        task_options={"window": 64, "windows": 4},
        model={"path": str(trained_llama)},
        evaluation={"path": str(tmp_path / "text.txt")},
        variants=[
            {"name": "int4", "quantizer": "rtn", "options": {"group_size": 64}},
            {"name": "cached", "quantizer": "rtn", "options": {"group_size": 64}}
            | {"engine": {"enable_prefix_caching": True}},
        ],
    )
    progress = Silent()
    said: list[str] = []
    progress.say = said.append
    report = pipeline.save(recipe, output=tmp_path / "reports", judge="none", progress=progress)
    assert [row.error for row in report.variants] == [None, None]
    assert [line for line in said if "quantized before" in line] == ["cached: quantized before, with the same options"]
    assert report.variants[0].quantized == report.variants[1].quantized
    plain, cached = (store.find(f"llama-{name}") for name in ("int4", "cached"))
    assert settings(plain)["engine"] == {}
    assert settings(cached)["engine"] == {"enable_prefix_caching": True}
    assert tensors_of(plain.path).keys() == tensors_of(cached.path).keys()


def settings(model: store.StoredModel) -> dict:
    return json.loads((model.path / artifact.DESCRIPTION).read_text())["runtime_config"]
