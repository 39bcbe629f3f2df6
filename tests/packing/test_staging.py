"""The folder that is built: the current one where all is here, else a copy with what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from quantbento.core import project_files
from quantbento.packing import staging
from quantbento.packing.build_files import BuildFile
from quantbento.packing.staging import build_folder, completed
from tests.conftest import ROOT

LIST = "configs/bentos/requirements/onnx.txt"
SOURCE = Path("src/quantbento")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project of a user's own, in which a build file was found."""
    project = tmp_path / "project"
    for name in ("bentofile.yaml", "service.py", "mine/code.py", "mine/data.bin", "notes.txt", "setup.sh", "README.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    for name in (".venv/x.py", "environment/pyvenv.cfg", "environment/x.py", "mine/__pycache__/code.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    monkeypatch.chdir(project)
    return project


def staged(file: BuildFile) -> tuple[set[str], dict, Path]:
    """The files of the folder that is built, its build file's content and path."""
    with build_folder(completed(file)) as (folder, path):
        assert folder != Path()
        files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        data = yaml.safe_load((folder / path).read_text())
    assert not folder.exists()
    return files, data, path


def library() -> set[str]:
    root = project_files.LIBRARY
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_in_a_complete_project_nothing_is_copied(monkeypatch):
    monkeypatch.chdir(ROOT)
    file = BuildFile(Path("bentofile.yaml"), yaml.safe_load(Path("bentofile.yaml").read_text()))
    assert completed(file).supplied == {}
    with build_folder(completed(file)) as found:
        assert found == (Path(), Path("bentofile.yaml"))


def test_a_copy_has_what_is_included_and_the_librarys_source(folder):
    data = {"service": "service:Mine", "include": ["service.py", "mine/**"], "exclude": ["*.bin"]}
    files, written, path = staged(BuildFile(Path("bentofile.yaml"), data))
    own = {name for name in files if not name.startswith("quantbento/")}
    assert own == {"bentofile.yaml", "service.py", "mine/code.py"}
    assert {name.removeprefix("quantbento/") for name in files - own} == library()
    assert written == data | {
        "include": ["service.py", "mine/**", "quantbento/**/*.py", "quantbento/serving/playground/static/**"]
    }
    assert path == Path("bentofile.yaml")


def test_in_a_src_layout_the_library_is_in_src(folder):
    data = {"service": "service:Mine", "include": ["service.py"], "python": {"is_src_layout": True}}
    files, written, _ = staged(BuildFile(Path("bentofile.yaml"), data))
    assert "src/quantbento/__init__.py" in files
    assert written["include"] == ["service.py", "src/quantbento/**/*.py", "src/quantbento/serving/playground/static/**"]
    data["include"] = ["service.py", "src/**"]
    assert staged(BuildFile(Path("bentofile.yaml"), data))[1]["include"] == data["include"]


def test_everything_is_included_by_default_but_environments_and_hidden_folders(folder):
    files, written, _ = staged(BuildFile(Path("bentofile.yaml"), {"service": "service:Mine"}))
    own = {name for name in files if not name.startswith("quantbento/")}
    assert own == {
        *("bentofile.yaml", "service.py", "mine/code.py", "mine/data.bin", "notes.txt", "setup.sh", "README.md"),
    }
    assert "include" not in written


def test_files_that_the_build_file_names_come_along(folder):
    Path(".bentoignore").write_text("*.bin\n")
    data = {
        "service": "service:Mine",
        "include": ["service.py"],
        "description": "file: README.md",
        "docker": {"setup_script": "setup.sh"},
        "python": {"requirements_txt": "notes.txt"},
    }
    files, *_ = staged(BuildFile(Path("bentofile.yaml"), data))
    assert {"README.md", "setup.sh", "notes.txt", ".bentoignore"} <= files
    assert "mine/code.py" not in files


def test_what_is_not_here_is_quantbentos_own(folder):
    Path("service.py").unlink()
    data = {"service": "service:TensorModel", "python": {"requirements_txt": LIST}}
    file = completed(BuildFile(Path("bentofile.yaml"), data))
    assert file.supplied == {Path(LIST): ROOT / LIST, Path("service.py"): ROOT / "service.py"} | {
        Path("quantbento"): project_files.LIBRARY
    }
    assert "onnxruntime" in file.packages
    with build_folder(file) as (built, _):
        assert (built / "service.py").read_bytes() == (ROOT / "service.py").read_bytes()
        assert (built / LIST).read_bytes() == (ROOT / LIST).read_bytes()


def test_another_module_is_not_replaced_by_quantbentos(folder):
    file = completed(BuildFile(Path("bentofile.yaml"), {"service": "my_service:Mine"}))
    assert Path("service.py") not in file.supplied


def test_who_installs_the_library_as_a_package_gets_no_source(folder):
    data = {"service": "service:Mine", "python": {"packages": ["quantbento==0.1"]}}
    assert completed(BuildFile(Path("bentofile.yaml"), data)).supplied == {}


def test_what_is_supplied_replaces_what_is_here(folder):
    """A service.py of the user's own that has no service for the task."""
    file = BuildFile(
        Path("x.yaml"), {"service": "service:A"}, {Path("service.py"): ROOT / "service.py", Path("x.yaml"): "a"}
    )
    with build_folder(completed(file)) as (built, _):
        assert (built / "service.py").read_bytes() == (ROOT / "service.py").read_bytes()
    assert Path("service.py").read_text() == "service.py"


def test_files_carried_by_a_wheel_do_not_go_into_a_bento(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "LIBRARY", tmp_path / "quantbento")
    for name in ("__init__.py", "core/project/service.py"):
        (tmp_path / "quantbento" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "quantbento" / name).touch()
    files, *_ = staged(BuildFile(Path("bentofile.yaml"), {"service": "service:Mine"}))
    assert {name for name in files if name.startswith("quantbento/")} == {"quantbento/__init__.py"}


def test_a_build_file_from_anywhere_is_built_here(folder, tmp_path):
    elsewhere = tmp_path / "mine.yaml"
    elsewhere.write_text("service: service:Mine\n")
    assert staged(BuildFile(elsewhere, {"service": "service:Mine"}))[2] == Path("mine.yaml")
