"""A build file is found by name or path, and tells which model and which packages it packs."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core import project_files
from quantbento.core.errors import QuantbentoError
from quantbento.packing.build_files import BuildFile, command_that_saves, find, known, pinned
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "configs" / "bentos").mkdir(parents=True)
    for name in ("minilm", "two-moons"):
        (tmp_path / "configs" / "bentos" / f"{name}.yaml").write_text(f"name: {name}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (None, "bentofile.yaml"),
        ("minilm", "configs/bentos/minilm.yaml"),
        ("configs/bentos/two-moons.yaml", "configs/bentos/two-moons.yaml"),
        ("mine.yml", "mine.yml"),
    ],
    ids=["default", "name", "path", "any-file"],
)
def test_a_name_a_path_or_nothing(folder, name, path):
    (folder / "bentofile.yaml").write_text("name: default\n")
    (folder / "mine.yml").write_text("name: mine\n")
    assert find(name).path == Path(path)


def test_an_unknown_name_is_told_with_the_nearest_and_all(folder, monkeypatch):
    monkeypatch.setattr(project_files, "folder", lambda: folder / "quantbento's")
    with pytest.raises(QuantbentoError) as raised:
        find("minilmm")
    assert str(raised.value) == (
        "no build file 'minilmm'; did you mean 'minilm'? (allowed: 'minilm' or 'two-moons', which are files in "
        "configs/bentos, or the path of a build file)"
    )


def test_what_the_folder_lacks_is_quantbentos_own(folder):
    (folder / "configs/bentos/minilm.yaml").write_text("name: mine\n")
    assert (find("minilm").data, find("minilm").supplied) == ({"name": "mine"}, {})
    own = Path("configs/bentos/tiny-llama.yaml")
    assert (find("tiny-llama").path, find("tiny-llama").supplied) == (own, {own: ROOT / own})
    assert find("tiny-llama").data["name"] == "tiny-llama"
    assert {"minilm", "two-moons", "tiny-llama", "llama-3.1-8b"} <= set(known())


def test_a_file_that_is_no_mapping_is_an_error(folder):
    (folder / "list.yaml").write_text("- a\n")
    with pytest.raises(QuantbentoError, match="must be a mapping of keys to values, not list"):
        find("list.yaml")


def test_the_model_and_the_task():
    file = BuildFile(Path("x"), {"args": {"model": "a:b"}, "labels": {"task": "tensor"}})
    assert (file.model, file.task) == ("a:b", "tensor")
    for empty in ({}, {"args": None, "labels": None}):
        assert (BuildFile(Path("x"), empty).model, BuildFile(Path("x"), empty).task) == (None, None)


def test_packages_come_from_the_list_and_from_the_file(tmp_path):
    (tmp_path / "requirements.txt").write_text("b==2\n")
    python = {"packages": ["a==1"], "requirements_txt": str(tmp_path / "requirements.txt")}
    assert BuildFile(Path("x"), {"python": python}).packages == {"a": "1", "b": "2"}
    python["requirements_txt"] = str(tmp_path / "missing.txt")
    assert BuildFile(Path("x"), {"python": python}).packages == {"a": "1"}
    assert BuildFile(Path("x"), {}).packages == {}
    list_of_its_own = {"python": {"requirements_txt": "mine.txt"}}
    for supplied in ("c==3\n", tmp_path / "requirements.txt"):
        version = {"c": "3"} if isinstance(supplied, str) else {"b": "2"}
        assert BuildFile(Path("x"), list_of_its_own, {Path("mine.txt"): supplied}).packages == version


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("torch==2.13.0+cpu", {"torch": "2.13.0+cpu"}),
        ("Py_Torch.Lib == 1.0  # why", {"py-torch-lib": "1.0"}),
        ("uvicorn[standard]==0.54.0", {"uvicorn": "0.54.0"}),
        ("uvloop==0.23.0 ; sys_platform != 'win32'", {"uvloop": "0.23.0"}),
        ("numpy>=1.26,<3", {"numpy": ">=1.26,<3"}),
        ("numpy", {"numpy": ""}),
        ("lib @ https://example.org/lib.whl", {"lib": "@ https://example.org/lib.whl"}),
        ("# a remark", {}),
        ("--no-binary :all:", {}),
        ("", {}),
    ],
)
def test_a_line_of_requirements(line, found):
    assert pinned([line]) == found


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("minilm-l6-v2-onnx-int8", "python save_models.py configs/minilm.yaml"),
        ("two-moons-torch-int8:0a1b", "python save_models.py configs/two-moons.yaml"),
        ("minilm-l6-v2", "python save_models.py configs/<recipe>.yaml"),
    ],
    ids=["name", "version", "no-variant"],
)
def test_the_command_that_saves_a_model_names_its_recipe(monkeypatch, model, command):
    monkeypatch.chdir(ROOT)
    assert command_that_saves(model) == command


def test_files_of_another_kind_beside_the_recipes_are_passed_over(folder):
    (folder / "configs" / "a.yaml").write_text("- 1\n")
    (folder / "configs" / "b.yaml").write_text("{")
    (folder / "configs" / "c.yaml").write_text("name: c\nvariants: [{name: int8}]\n")
    assert command_that_saves("c-int8") == "python save_models.py configs/c.yaml"
