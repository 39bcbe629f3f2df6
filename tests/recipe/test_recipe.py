"""The shape of a recipe: everything that is wrong with it comes in one message. No name is looked up."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml
from pydantic import ValidationError

from quantbento.core.errors import RecipeError
from quantbento.recipe import Gates, ModelSpec, load_recipe
from tests.conftest import ROOT
from tests.minimal_recipe import minimal

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def problems(recipe) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    return caught.value.problems


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_recipes_of_this_project_load(path):
    recipe = load_recipe(path)
    assert recipe.name and recipe.variants


def test_a_minimal_recipe_is_enough_and_a_recipe_stays_itself():
    recipe = load_recipe(minimal())
    assert recipe.model_name(recipe.variants[0]) == "moons-int8"
    assert load_recipe(recipe) is recipe


def test_paths_start_at_the_recipe_wherever_the_command_runs(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "data.txt").write_text("a")
    folder = tmp_path / "recipes"
    folder.mkdir()
    given = minimal(model={"path": "../model"}, evaluation={"path": "../data.txt"}, task="feature-extraction")
    (folder / "r.yaml").write_text(yaml.safe_dump(given))
    monkeypatch.chdir(folder)
    here = load_recipe("r.yaml")
    monkeypatch.chdir("/")
    there = load_recipe(folder / "r.yaml")
    assert here == there
    assert (there.model.path, there.evaluation.path) == (tmp_path / "model", tmp_path / "data.txt")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"model": {}},
            "'factory', 'onnx', 'torchscript' or 'exported' is needed, not none",
        ),
        ({"model": {"id": "a/b", "package": "c"}}, "is needed, not 2"),
        ({"model": {"package": "a", "revision": "main"}}, "model: revision goes with id"),
        ({"model": {"factory": "a:b", "subfolder": "c"}}, "model: subfolder does not go with factory"),
        ({"model": {"factory": "no-colon"}}, "model.factory: string should match pattern"),
        ({"evaluation": {"dataset": "a", "factory": "a:b"}}, "evaluation: exactly one of"),
        ({"schema_version": 2}, "schema_version: input should be 1, not 2"),
        ({"name": "Upper"}, "name: string should match pattern"),
        ({"variants": []}, "variants: list should have at least 1 item"),
        ({"gates": {"max_drop": {"accuracy": -0.1}}}, "gates.max_drop.accuracy: input should be greater"),
        ({"custom_objects": {"preprocess": "a.b"}}, "custom_objects.preprocess: string should match pattern"),
        ({"evaluation": {"factory": "a:b", "count": 0}}, "evaluation.count: input should be greater than 0, not 0"),
        ({"evaluation": {"factory": "a:b", "split": "dev"}}, "evaluation: split would have no effect with factory"),
        (
            {"evaluation": {"factory": "a:b", "text": "t", "label": "l"}},
            "evaluation: label, text would have no effect with",
        ),
        ({"calibration": {"factory": "a:b", "sequences": 0}}, "calibration.sequences: input should be greater than 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value[:24],
)
def test_one_thing_wrong_is_one_problem(changes, problem):
    found = problems(minimal(**changes))
    assert len(found) == 1
    assert problem in found[0]


def test_a_variants_gates_add_to_the_recipes_and_win():
    everyone = Gates(max_drop={"accuracy": 0.01, "agreement": 0.1}, min_speedup=1.1)
    own = Gates(max_drop={"accuracy": 0.02}, min={"sqnr_db": 20}, max_size_ratio=0.5)
    assert everyone.merged(own) == Gates(
        max_drop={"accuracy": 0.02, "agreement": 0.1}, min={"sqnr_db": 20}, min_speedup=1.1, max_size_ratio=0.5
    )


def test_parsing_a_recipe_loads_no_quantizer_task_runtime_or_engine():
    code = "import sys, quantbento.recipe as r; r.load_recipe('configs/minilm.yaml'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stdout.split())
    rooms = ("quantizers", "tasks", "runtimes", "inputs", "making", "judging", "store")
    assert "quantbento.recipe.schema" in loaded
    assert loaded & {"torch", "onnx", "onnxruntime", "transformers", "bentoml", "numpy"} == set()
    assert [name for name in loaded if name.startswith(tuple(f"quantbento.{room}" for room in rooms))] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m.onnx", r"m\.onnx is a file; allowed is a folder; the key for this file is `onnx:`"),
        ("m.bin", r"m\.bin is a file; allowed is a folder$"),
    ],
)
def test_a_file_where_a_folder_belongs_is_not_called_missing(tmp_path, name, said):
    (tmp_path / name).touch()
    with pytest.raises(ValidationError) as raised:
        ModelSpec(path=tmp_path / name)
    assert re.search(said, raised.value.errors()[0]["msg"])
