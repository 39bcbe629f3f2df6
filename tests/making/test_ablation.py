"""A variant with one part turned off at a time, judged as the variant is."""

from __future__ import annotations

import json

import pytest

import quantbento
from quantbento import store
from quantbento.core.errors import RecipeError
from quantbento.making import plan
from tests.minimal_recipe import minimal

OFF = ["per_channel", "per_token", "batching"]


def recipe(off=OFF, variant="int8", **changes) -> dict:
    return minimal(
        model={"factory": "tests.tiny_tensor:model"},
        evaluation={"factory": "tests.tiny_tensor:samples"},
        benchmark={"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
        variants=[{"name": "int8", "quantizer": "onnx-dynamic"}],
        ablate={"variant": variant, "off": off},
        **changes,
    )


def table(folder) -> dict:
    return json.loads((folder / "moons" / "ablation.json").read_text())


@pytest.mark.slow
def test_each_part_has_its_row_and_nothing_of_it_is_stored(tmp_path, bento_home):
    report = quantbento.save(recipe(), output=tmp_path)
    made = table(tmp_path)
    assert (made["recipe"], made["variant"]) == ("moons", "int8")
    whole, *parts = made["rows"]
    assert [row["off"] for row in made["rows"]] == [None, *OFF]
    assert whole["metrics"] == report.variants[0].metrics
    assert all(row["error"] is None and row["speedup"]["median"] > 0 for row in made["rows"])
    assert parts[1]["metrics"]["sqnr_db"] != whole["metrics"]["sqnr_db"], "a scale per tensor rounds otherwise"
    assert parts[2]["metrics"] == {}, "answers one by one are the same"
    assert [model.tag for model in store.models()] == [report.variants[0].tag]

    written = (tmp_path / "moons" / "ablation.json").stat().st_mtime_ns
    quantbento.save(recipe(), output=tmp_path)
    assert (tmp_path / "moons" / "ablation.json").stat().st_mtime_ns == written, "known already"
    assert quantbento.save(recipe(["per_token"]), output=tmp_path).variants[0].reused
    quantbento.save(recipe(["smooth_quant"]), output=tmp_path)
    assert [row["off"] for row in table(tmp_path)["rows"]] == [None, "smooth_quant"], "for a stored variant too"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"variant": "int9"}, r"ablate\.variant: no variant 'int9'; did you mean 'int8'\?"),
        ({"off": ["kv_cache"]}, r"ablate\.off\[0\]: onnx-dynamic of task tensor has no kv_cache to turn off \(it has"),
        ({"off": ["per_chanel"]}, r"ablate\.off\[0\]: input should be 'calibration', 'per_channel'"),
        ({"off": []}, r"ablate\.off: list should have at least 1 item"),
    ],
)
def test_what_cannot_be_turned_off_is_told_before_any_work(given, told):
    with pytest.raises(RecipeError, match=told):
        plan.check(recipe(**given), None)


def test_a_run_of_other_variants_leaves_it_out():
    both = recipe() | {"variants": [{"name": n, "quantizer": "onnx-dynamic"} for n in ("int8", "other")]}
    assert plan.check(both, ["other"])[0].recipe.ablate is None
    assert plan.check(both, ["int8"])[0].recipe.ablate is not None
