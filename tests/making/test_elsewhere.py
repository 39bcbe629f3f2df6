"""The machines that a sweep asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core import machine
from quantbento.core.errors import QuantbentoError, RecipeError
from quantbento.making.elsewhere import look
from tests.conftest import ROOT

TINY = """
schema_version: 1
name: tiny
task: tensor
model: {factory: "tests.tiny_tensor:model"}
evaluation: {factory: "tests.tiny_tensor:samples"}
"""


def recipe(folder: Path, *quantizers: str, device: str = "auto") -> Path:
    rows = "".join(f"  - {{name: {name}, quantizer: {name}}}\n" for name in quantizers)
    path = folder / "tiny.yaml"
    path.write_text(f"{TINY}benchmark: {{device: '{device}'}}\nvariants:\n{rows}")
    return path


@pytest.mark.parametrize(
    ("quantizers", "device", "gpu"),
    [
        (["torchao"], "auto", True),
        (["torchao", "torch-dynamic"], "auto", False),
        (["torchao"], "cpu", False),
        (["torchao"], "cuda:1", True),
    ],
    ids=["all on a GPU", "one on CPUs only", "told", "the second GPU"],
)
def test_one_kind_of_machine_for_all_variants(tmp_path, quantizers, device, gpu):
    found = look(recipe(tmp_path, *quantizers, device=device))
    assert (found.name, found.variants, found.gpu) == ("tiny", quantizers, gpu)


def test_packages_that_are_missing_here_do_not_matter(monkeypatch):
    monkeypatch.setattr(machine, "missing_packages", lambda names: ["vllm"] if "vllm" in names else [])
    found = look(ROOT / "configs" / "llama-3.1-8b.yaml")
    assert found.gpu and len(found.variants) == 3


def test_what_is_wrong_with_the_recipe_is_said(tmp_path):
    with pytest.raises(RecipeError, match="unknown quantizer 'torchhao'"):
        look(recipe(tmp_path, "torchhao"))
    with pytest.raises(RecipeError, match=r"runs on cpu; benchmark\.device is 'cuda'"):
        look(recipe(tmp_path, "torch-dynamic", device="cuda"))


def test_a_device_that_no_cluster_is_asked_for(tmp_path):
    with pytest.raises(QuantbentoError, match="'xpu'; a sweep is for CPUs and NVIDIA GPUs"):
        look(recipe(tmp_path, "openvino-weights", device="xpu"))
