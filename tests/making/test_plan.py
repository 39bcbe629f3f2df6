"""A variant is made again exactly when something it is made from, or judged by, has changed."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from typing import ClassVar

import pytest
import yaml

from quantbento import store
from quantbento.core import registry
from quantbento.core.errors import RecipeError
from quantbento.making import plan
from quantbento.quantizers.torch.dynamic import TorchDynamic
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("bento_home")


class NeedsMore(TorchDynamic):
    name = "needs-more"
    modules: ClassVar = ("json", "no_such_engine")


@pytest.fixture
def recipe(tmp_path):
    """A recipe over a model folder (its files need not load) and a samples file."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "samples.txt").write_text("a\nb\n")
    return {
        "schema_version": 1,
        "name": "tiny",
        "task": "feature-extraction",
        "model": {"path": str(folder)},
        "evaluation": {"path": str(tmp_path / "samples.txt")},
        "variants": [
            {"name": "torch-int8", "quantizer": "torch-dynamic"},
            {"name": "onnx-int8", "quantizer": "onnx-dynamic"},
        ],
    }


def fingerprints(recipe) -> dict[str, str]:
    return plan.make(recipe, None, force=False).fingerprints


def _set(recipe: dict, value, *path) -> None:
    for part in path[:-1]:
        recipe = recipe.setdefault(part, {}) if isinstance(part, str) else recipe[part]
    recipe[path[-1]] = value


@pytest.mark.parametrize(
    "change",
    [
        lambda r, folder: _set(r, 64, "task_options", "max_length"),
        lambda r, folder: _set(r, {"mean_cosine": 0.9}, "gates", "min"),
        lambda r, folder: _set(r, 7, "benchmark", "items"),
        lambda r, folder: _set(r, "me", "labels", "owner"),
        lambda r, folder: _set(r, 1, "evaluation", "count"),
        lambda r, folder: _set(r, "examples.two_moons:model", "custom_objects", "preprocess"),
        lambda r, folder: (folder / "samples.txt").write_text("a\nc\n"),
        lambda r, folder: (folder / "model" / "model.safetensors").write_bytes(b"weighty"),
        lambda r, folder: (folder / "model" / "tokenizer.json").write_text("{}"),
    ],
    ids=["task-options", "gates", "benchmark", "labels", "count", "custom", "samples-file", "weights", "tokenizer"],
)
def test_a_change_that_matters_changes_every_fingerprint(recipe, tmp_path, change):
    before = fingerprints(recipe)
    change(recipe, tmp_path)
    after = fingerprints(recipe)
    assert all(after[name] != before[name] for name in before)


@pytest.mark.parametrize(
    ("key", "value"),
    [("options", {"per_channel": False}), ("gates", {"min": {"mean_cosine": 0.9}})],
    ids=["options", "gates"],
)
def test_a_change_to_one_variant_leaves_the_others_alone(recipe, key, value):
    before = fingerprints(recipe)
    recipe["variants"][0][key] = value
    after = fingerprints(recipe)
    assert after["torch-int8"] != before["torch-int8"]
    assert after["onnx-int8"] == before["onnx-int8"]


def test_what_does_not_matter_does_not_change_it(recipe, tmp_path, monkeypatch):
    """Another folder, a comment, the order of variants, a gate moved between recipe and variant, a README."""
    recipe["variants"][0]["gates"] = {"min": {"mean_cosine": 0.9}}
    before = fingerprints(recipe)
    moved = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "model", moved / "model")
    shutil.copy(tmp_path / "samples.txt", moved)
    (moved / "model" / "README.md").write_text("about it")
    other = copy.deepcopy(recipe) | {"model": {"path": "model"}, "evaluation": {"path": "samples.txt"}}
    other["gates"] = {"min": {"mean_cosine": 0.9}}
    other["variants"].reverse()
    del other["variants"][1]["gates"]
    other["variants"][0]["gates"] = {}
    (moved / "recipe.yaml").write_text("# a comment\n" + yaml.safe_dump(other))
    after = fingerprints(moved / "recipe.yaml")
    assert after["torch-int8"] == before["torch-int8"]
    assert after["onnx-int8"] != before["onnx-int8"]  # the gate above is new to this one


def test_some_variants_can_be_chosen(recipe):
    chosen = plan.make(recipe, ["onnx-int8"], force=False)
    assert [v.name for v in chosen.pending] == ["onnx-int8"]
    assert chosen.fingerprints["onnx-int8"] == fingerprints(recipe)["onnx-int8"]


def test_a_stored_variant_is_reused_while_it_is_whole_has_passed_and_is_not_forced(recipe, tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"int8")
    prints = fingerprints(recipe)
    content = {plan.FINGERPRINT: prints["torch-int8"], "variant": {"passed": True}}
    model = store.save("tiny-torch-int8", folder, content, {}, {})
    failed = {plan.FINGERPRINT: prints["onnx-int8"], "variant": {"passed": False}}
    store.save("tiny-onnx-int8", folder, failed, {}, {})

    planned = plan.make(recipe, None, force=False)
    assert {name: m.tag for name, m in planned.reusable.items()} == {"torch-int8": model.tag}
    assert [v.name for v in planned.pending] == ["onnx-int8"]
    assert plan.make(recipe, None, force=True).reusable == {}
    (model.path / "model.bin").unlink()
    assert plan.make(recipe, None, force=False).reusable == {}


def test_an_unknown_variant_is_refused_with_the_nearest(recipe):
    with pytest.raises(RecipeError) as caught:
        plan.make(recipe, ["onnx-int4", "onnx-int8", "zzz"], force=False)
    assert caught.value.problems == [
        "no variant 'onnx-int4'; did you mean 'onnx-int8'? (it has 'torch-int8' or 'onnx-int8')",
        "no variant 'zzz' (it has 'torch-int8' or 'onnx-int8')",
    ]


def test_everything_that_is_missing_is_listed_before_any_work(recipe, monkeypatch):
    monkeypatch.setitem(registry.QUANTIZERS, "needs-more", f"{__name__}:NeedsMore")
    recipe["variants"].append({"name": "more", "quantizer": "needs-more"})
    recipe["model"] = {"package": "no-such-distribution"}
    recipe["evaluation"] = {"factory": "no_such_module:held_out"}
    with pytest.raises(RecipeError) as caught:
        plan.make(recipe, None, force=False)
    variant, model, evaluation = caught.value.problems
    assert variant.startswith("variant 'more': needs-more needs no_such_engine, not installed here; run: pip install")
    assert model == "model: the package 'no-such-distribution' is not installed; run: pip install no-such-distribution"
    assert evaluation.startswith("evaluation: 'no_such_module:held_out': no module named 'no_such_module'")


@pytest.mark.parametrize("package", ["torch", "onnxruntime", "onnx"])
def test_without_an_engine_the_command_says_what_to_install(package):
    code = (
        f"import sys; sys.modules[{package!r}] = None; from quantbento.cli import save_models; "
        "sys.exit(save_models(['configs/two-moons.yaml']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert f" needs {package}, not installed here; run: pip install 'quantbento[quantize]'" in done.stderr
    assert "Traceback" not in done.stderr
