"""A build file is found by name or path, and tells which model and which packages it packs."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.packing.build_files import BuildFile, command_that_saves, find, pinned
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


def test_an_unknown_name_is_told_with_the_nearest_and_all(folder):
    with pytest.raises(QuantbentoError) as raised:
        find("minilmm")
    assert str(raised.value) == (
        "no Bento 'minilmm'; did you mean 'minilm'? (allowed: 'minilm' or 'two-moons', which are files in "
        "configs/bentos, or the path of a build file). Run it where service.py is"
    )


def test_without_a_bentofile_the_default_is_an_error(folder):
    with pytest.raises(QuantbentoError, match=r"^no bentofile.yaml here \(allowed: 'minilm' or 'two-moons'"):
        find(None)


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
