"""From a wheel, in an empty folder: a model is served, built and rendered for Kubernetes by its tag, and a project of
one's own is written. What commands need beside the library is in the wheel, byte for byte as in the repository."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from examples.server import serve
from tests.conftest import ROOT

CARRIED = "quantbento/core/project/"
AT_THE_TOP = ["service.py", "configs/bentos", "deploy/kubernetes", "deploy/sweep"]
POINTS = [[0.0, 1.0], [1.0, -0.5]]
MODELS = ["my-moons-onnx-int8", "my-moons-torch-int8", "my-moons-openvino-int8"]

pytestmark = pytest.mark.slow


def distribution(source: Path, kind: str, folder: Path) -> Path:
    """Built by the project's own build backend."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [built] = folder.iterdir()
    return built


def files(folder: Path, below: str = "") -> dict[str, bytes]:
    found = [p for p in (folder / below).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return distribution(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def content(wheel) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_wheel_carries_the_repositorys_files_as_they_are(content):
    carried = {name.removeprefix(CARRIED): data for name, data in content.items() if name.startswith(CARRIED)}
    expected = {path: data for top in AT_THE_TOP for path, data in files(ROOT, top).items()}
    assert carried == expected | {"service.py": (ROOT / "service.py").read_bytes()}


def test_a_wheel_has_the_whole_library(content):
    library = {name: data for name, data in content.items() if name.startswith("quantbento/") and CARRIED not in name}
    assert library == files(ROOT / "src", "quantbento")
    assert "quantbento/packing/Containerfile.j2" in library


def test_what_a_source_distribution_builds_is_the_same_wheel(content, tmp_path):
    sdist = distribution(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    assert (source / "tests").is_dir() and not (source / ".venv").exists()
    with zipfile.ZipFile(distribution(source, "wheel", tmp_path / "wheel")) as again:
        assert {name: again.read(name) for name in again.namelist()} == content


@pytest.fixture(scope="module")
def environments(wheel, tmp_path_factory) -> tuple[Path, Path]:
    """The programs of two fresh environments: the wheel with its dependencies, and the dependencies alone. Those are
    this environment's, where quantbento itself cannot be found: it is installed from its source."""
    found = []
    for name in ("with", "without"):
        folder = tmp_path_factory.mktemp(name) / "venv"
        venv.create(folder)
        [packages] = folder.glob("lib/python*/site-packages")
        ours = next(p for p in map(Path, sys.path) if p.name == "site-packages")
        # As another prefix, so that its packages count as installed ones.
        prefix = f"import site; site.PREFIXES.append({sys.prefix!r})"
        (packages / "dependencies.pth").write_text(f"{ours}\n{prefix}\n")
        found.append(folder / "bin")
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(found[0] / "python"), *install], check=True)
    return found[0], found[1]


@pytest.fixture(scope="module")
def run(environments, tmp_path_factory):
    """`run(folder, "quantbento build x")` runs a program of the wheel's environment, and gives what it printed."""
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QUANTBENTO"))}
    environment |= {"BENTOML_HOME": str(home), "PATH": f"{environments[0]}{os.pathsep}{os.environ['PATH']}"}

    def run_in(folder: Path, command: str) -> str:
        words = shlex.split(command)
        words[0] = str(environments[0] / words[0])
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run_in.home = home
    run_in.environment = environment
    return run_in


@pytest.fixture(scope="module")
def project(run, tmp_path_factory) -> Path:
    """`quantbento new`, in an empty folder; its models are stored."""
    folder = tmp_path_factory.mktemp("projects")
    code = "import quantbento, onnxruntime; print(quantbento.__file__)"
    assert str(run.environment["PATH"]).split(os.pathsep)[0].removesuffix("/bin") in run(folder, f"python -c '{code}'")
    run(folder, "quantbento new my-moons")
    recipe = folder / "my-moons/configs/my-moons.yaml"
    run(folder / "my-moons", "python save_models.py configs/my-moons.yaml")
    of_openvino = yaml.safe_load(recipe.read_text())
    of_openvino["variants"] = [{"name": "openvino-int8", "quantizer": "openvino-weights"}]
    recipe.with_name("openvino.yaml").write_text(yaml.safe_dump(of_openvino))
    run(folder / "my-moons", "python save_models.py configs/openvino.yaml")
    return folder / "my-moons"


@pytest.fixture(scope="module")
def empty(tmp_path_factory, project) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def built(run, empty) -> dict[str, Path]:
    """Bentos of two stored models, by their tags; none of the project's build files is for such a model."""
    found = {}
    for tag in MODELS[1:]:
        run(empty, f"quantbento build {tag}")
        assert list(empty.iterdir()) == []
        [bento] = (run.home / "bentos" / tag).glob("*/bento.yaml")
        found[tag] = bento.parent
    return found


def answers(server) -> list[int]:
    response = httpx.post(f"{server.url}/predict", json={"inputs": POINTS})
    assert response.status_code == 200
    return np.argmax(response.json(), axis=1).tolist()


def test_the_tests_of_a_new_project_pass(run, project):
    assert re.search(r"\b4 passed", run(project, "python -m pytest -p no:cacheprovider"))


def test_the_commands_of_its_readme_run(run, project):
    blocks = re.findall(r"```sh\n(.*?)```", (project / "README.md").read_text(), re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    left_out = ("pip install", "pytest", "quantbento serve", "curl")  # the last three: the test beside this one
    commands = [line for line in lines if not line.startswith(left_out)]
    assert len(commands) >= 6
    for command in commands:
        run(project, command)
    assert (project / "image" / "Containerfile").is_file()
    assert (project / "deploy/rendered/my-moons-onnx-int8/kustomization.yaml").is_file()


@pytest.mark.server
@pytest.mark.parametrize("tag", MODELS)
def test_a_stored_model_is_served_by_its_tag_in_an_empty_folder(run, empty, tmp_path, monkeypatch, environments, tag):
    monkeypatch.chdir(empty)
    for name in set(os.environ) - set(run.environment):
        monkeypatch.delenv(name)
    command = [str(environments[0] / "quantbento"), "serve", tag, "--port", "{port}"]
    with serve(command, run.environment, tmp_path / "server.log") as server:
        assert answers(server) == [0, 1]
        assert httpx.get(f"{server.url}/info").json()["model"].startswith(f"{tag}:")
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("tag", MODELS[1:])
def test_a_bento_built_by_tag_holds_the_library_and_quantbentos_service(built, content, tag):
    source, runtime = files(built[tag] / "src"), tag.split("-")[2]
    library = {name: data for name, data in source.items() if name.startswith("quantbento/")}
    wheel = {n: d for n, d in content.items() if CARRIED not in n and "dist-info" not in n}
    assert library == {n: d for n, d in wheel.items() if n.endswith(".py") or "/playground/static/" in n}
    assert source["service.py"] == content[f"{CARRIED}service.py"]
    description = yaml.safe_load((built[tag] / "bento.yaml").read_text())
    assert description["labels"].items() >= {"task": "tensor", "runtime": runtime, "recipe": "my-moons"}.items()
    assert re.fullmatch(r"\d+(Mi|Gi)", description["services"][0]["config"]["resources"]["memory"])
    listed = content[f"{CARRIED}configs/bentos/requirements/{runtime}.txt"].decode().splitlines()
    packed = (built[tag] / "env/python/requirements.txt").read_text().splitlines()
    assert set(packed) == set(listed)  # BentoML adds itself once more


@pytest.mark.server
@pytest.mark.parametrize("tag", MODELS[1:])
def test_a_bento_built_by_tag_serves_where_the_library_is_not_installed(
    run, built, empty, tmp_path, monkeypatch, environments, tag
):
    monkeypatch.chdir(empty)
    for name in set(os.environ) - set(run.environment):
        monkeypatch.delenv(name)
    python = str(environments[1] / "python")
    # An installation from source leaves a folder `quantbento`, without code, beside its dependencies.
    code = "import quantbento.core.errors"
    missing = subprocess.run([python, "-c", code], cwd=empty, env=run.environment, capture_output=True)
    assert b"No module named 'quantbento" in missing.stderr
    command = [python, "-m", "bentoml", "serve", f"{tag}:latest", "--host", "127.0.0.1", "--port", "{port}"]
    with serve(command, run.environment, tmp_path / "server.log") as server:
        assert answers(server) == [0, 1]
        assert httpx.get(f"{server.url}/info").json()["bento"].startswith(f"{tag}:")


@pytest.mark.parametrize("tag", MODELS[1:])
def test_an_image_and_manifests_come_of_it_in_an_empty_folder(run, built, tmp_path, tag):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    run(folder, f"quantbento containerize {tag} --context image")
    assert (folder / "image/bento/src/quantbento/__init__.py").is_file()
    assert list((folder / "image/models").glob(f"{tag}/*/manifest.json"))
    told = run(folder, f"quantbento deploy render {tag} --keda --image registry.example/moons:1")
    rendered = folder / "deploy" / "rendered" / tag
    for part in ("base", "overlays/cpu", "components/keda"):
        assert files(rendered, part) == {k: v for k, v in files(ROOT / "deploy/kubernetes", part).items()}
    top = yaml.safe_load((rendered / "kustomization.yaml").read_text())
    assert top["images"] == [{"name": "quantbento", "newName": "registry.example/moons", "newTag": "1"}]
    [templates] = re.findall(r"copy (\S+) to deploy/kubernetes", told)
    assert files(Path(templates)) == files(ROOT / "deploy/kubernetes")


def test_a_build_file_that_is_kept_is_one_to_build_by_name(run, project, tmp_path):
    run(tmp_path, "quantbento build my-moons-onnx-int8 --write configs/bentos/moons.yaml")
    assert [path.name for path in tmp_path.rglob("*.yaml")] == ["moons.yaml"]
    assert "bento     my-moons-onnx-int8:" in run(tmp_path, "quantbento build moons")
