"""`quantbento bench` as a user runs it."""

from __future__ import annotations

import json

import pytest

from quantbento import cli
from tests.conftest import model_store
from tests.serving.stored import save_stand_in


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name stored models or --url, one of them"),
        (["a", "--url", "http://x"], "name stored models or --url, one of them"),
        (["a", "--clients", "3"], "--clients would have no effect without --url"),
        (["--url", "http://x", "--batch", "3", "--passes", "4"], "--batch, --passes would have no effect with --url"),
        (["a", "a"], "a model is named twice"),
        (["a", "--passes", "1"], "one pass says nothing of the next"),
        (["a", "--seconds", "0", "--price-per-hour", "nan"], "--seconds 0: allowed are numbers above 0"),
        (["nothing-like-it"], "no model 'nothing-like-it' in the store"),
        (["--url", "http://127.0.0.1:9"], "does not answer"),
    ],
    ids=["nothing", "both", "of a service", "of models", "twice", "one pass", "numbers", "model", "service"],
)
def test_a_mistake_is_exit_code_2(bento_home, capsys, words, said):
    assert cli.main(["bench", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("given", ["1,a", "0", "-3", "", "inf"])
def test_numbers_with_commas(capsys, given):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "a", "--batch", given])
    assert "allowed are numbers above 0 with commas between, as 1,8,32" in capsys.readouterr().err


def test_models_for_two_tasks(bento_home, tmp_path, capsys):
    save_stand_in("moons", "tensor", tmp_path / "a")
    save_stand_in("texts", "feature-extraction", tmp_path / "b")
    assert cli.main(["bench", "moons", "texts"]) == 2
    assert "models for one task can be compared: moons:" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stored_model(served_home, tmp_path, capsys):
    words = ["bench", "tiny-encoder-onnx-int8", "--batch", "1,2", "--length", "8", "--passes", "2", "--rounds", "3"]
    with model_store(served_home):
        more = ["--threads", "1", "--seconds", "1", "--price-per-hour", "0.5", "--output", str(tmp_path)]
        assert cli.main([*words, *more]) == 0
        assert cli.main(["bench", "tiny-encoder-onnx-int8", "--new-tokens", "3"]) == 2
    said = capsys.readouterr()
    assert "cost per million" in said.out
    assert "--new-tokens would have no effect" in said.err
    found = json.loads((tmp_path / "tiny-encoder" / "bench.json").read_text())
    [model] = found["models"]
    assert [(cell["batch"], cell["length"]) for cell in model["grid"]] == [(1, 8), (2, 8)]
    best = max(cell["throughput"] for cell in model["grid"])
    assert model["cost_per_million"] == pytest.approx(0.5 / 3600 / best * 1e6)
    assert model["peak_memory_bytes"] > 0
    assert found["ratios"] == []
    assert found["environment"]["threads"] == 1
