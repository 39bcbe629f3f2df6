"""A variant's fingerprint holds everything the variant is made from, and nothing else."""

from __future__ import annotations

import importlib
import sys

import pytest

from quantbento.core.user_code import UserCode
from quantbento.making import fingerprint as module
from quantbento.making import plan
from quantbento.quantizers.base import QuantizerOptions
from quantbento.quantizers.torch.dynamic import TorchDynamic

pytestmark = pytest.mark.usefixtures("bento_home")


class WithFunctions(QuantizerOptions):
    train: UserCode | None = None
    hooks: dict[str, list[UserCode]] = {}


class Trained(TorchDynamic):
    name = "trained"
    data = "training"
    distributions = ("no-such-distribution", "pydantic")
    Options = WithFunctions


class Calibrated(TorchDynamic):
    name = "calibrated"
    data = "calibration"


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Variants that train, calibrate, and do neither, with the user's own functions."""
    for name in ("own_training", "own_hooks"):
        (tmp_path / f"{name}.py").write_text("def function():\n    pass\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    for kind in ("evaluation", "calibration", "training"):
        (tmp_path / f"{kind}.txt").write_text("a\nb\n")
    options = {"train": "own_training:function", "hooks": {"after": ["own_hooks:function"]}}
    return {
        "schema_version": 1,
        "name": "own",
        "task": "tensor",
        "model": {"factory": "examples.two_moons:model"},
        **{kind: {"path": str(tmp_path / f"{kind}.txt")} for kind in ("evaluation", "calibration", "training")},
        "variants": [
            {"name": "trained", "quantizer": f"{__name__}:Trained", "options": options},
            {"name": "calibrated", "quantizer": f"{__name__}:Calibrated"},
            {"name": "optional", "quantizer": "onnx-dynamic"},  # uses calibration samples where there are some
            {"name": "plain", "quantizer": "torch-dynamic"},
        ],
    }


def fingerprints(recipe) -> dict[str, str]:
    return plan.make(recipe, None, force=False).fingerprints


def changed(recipe, change) -> set[str]:
    before = fingerprints(recipe)
    change()
    after = fingerprints(recipe)
    assert before.keys() == after.keys() == {"trained", "calibrated", "optional", "plain"}
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "who"),
    [
        ("own_training.py", {"trained"}),
        ("own_hooks.py", {"trained"}),
        ("training.txt", {"trained"}),
        ("calibration.txt", {"calibrated", "optional"}),
        ("evaluation.txt", {"trained", "calibrated", "optional", "plain"}),
    ],
)
def test_a_variant_follows_what_its_quantizer_reads(recipe, tmp_path, file, who):
    def change():
        path = tmp_path / file
        path.write_text(path.read_text() + "# more\n")

    assert changed(recipe, change) == who


def test_versions_are_those_of_what_takes_part(recipe, monkeypatch):
    versions = {"pydantic": "1"}
    monkeypatch.setattr(module, "package_versions", lambda names: {n: versions.get(n, "0") for n in names})
    assert changed(recipe, lambda: versions.update(pydantic="2")) == {"trained"}
    assert changed(recipe, lambda: versions.update(onnxscript="2")) == {"optional"}
    assert changed(recipe, lambda: versions.update(cloudpickle="2")) == {"trained", "calibrated", "plain"}
    assert changed(recipe, lambda: versions.update({"vllm": "2", "bitsandbytes": "2"})) == set()


def test_a_function_that_is_not_there_is_a_problem_with_its_place(recipe):
    recipe["variants"][0]["options"]["train"] = "nowhere:function"
    with pytest.raises(Exception, match=r"variants\[0\]\.options: 'nowhere:function': no module named 'nowhere'"):
        plan.make(recipe, None, force=False)
