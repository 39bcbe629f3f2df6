"""`quantbento new`: a project that is named after its folder, and never writes over anything."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from quantbento import __version__, cli
from quantbento.core.errors import QuantbentoError
from quantbento.packing import new_project
from quantbento.packing.new_project import create
from quantbento.recipe import load_recipe

FILES = {
    *(".gitignore", "README.md", "bentofile.yaml", "pyproject.toml", "save_models.py", "service.py"),
    *("configs/my-moons.yaml", "my_moons/__init__.py", "my_moons/model.py", "tests/conftest.py", "tests/test_model.py"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["my-moons", "My Moons", "my_moons", "deep/My.Moons"])
def test_it_has_the_shape_of_this_project_under_the_folders_name(folder, name):
    assert create(Path(name)) == "my-moons"
    written = files(Path(name))
    assert written.keys() == FILES
    assert not [path for path, text in written.items() if "{{" in text.replace('f"{{', "") or "}}" in text]
    project = tomllib.loads(written["pyproject.toml"])["project"]
    assert project["name"] == "my-moons"
    assert project["dependencies"][0].endswith(f">={__version__}")
    assert yaml.safe_load(written["bentofile.yaml"])["include"] == ["service.py", "my_moons/**/*.py"]
    for path, text in written.items():
        if path.endswith(".py"):
            assert ast.get_docstring(ast.parse(text))


def test_its_recipe_and_its_code_are_in_order(folder):
    create(Path("my-moons"))
    recipe = load_recipe(Path("my-moons/configs/my-moons.yaml"))
    assert {variant.name for variant in recipe.variants} == {"onnx-int8", "torch-int8"}
    for check in (["check"], ["format", "--check", "--line-length", "120"]):
        ruff = [str(Path(sys.executable).with_name("ruff")), *check, "--isolated", "."]
        done = subprocess.run(ruff, cwd="my-moons", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_an_empty_folder_will_do_also_the_current_one(folder, monkeypatch):
    Path("moons").mkdir()
    create(Path("moons"))
    (folder / "stars").mkdir()
    monkeypatch.chdir(folder / "stars")
    assert create(Path()) == "stars"
    assert Path("stars/model.py").is_file()


def test_nothing_is_written_over(folder):
    Path("moons").mkdir()
    Path("moons/README.md").write_text("mine")
    with pytest.raises(QuantbentoError, match=r"^moons is not empty, and nothing in it is changed; name a new folder$"):
        create(Path("moons"))
    assert files(Path("moons")) == {"README.md": "mine"}
    Path("file").write_text("mine")
    with pytest.raises(QuantbentoError, match=r"^file is no folder"):
        create(Path("file"))
    with pytest.raises(QuantbentoError, match="could not be written: not a directory; name another folder"):
        create(Path("file/moons"))


@pytest.mark.parametrize("name", ["2-moons", "class", "---", "m" * 60])
def test_a_name_that_is_none_for_a_package_is_refused(folder, name):
    with pytest.raises(
        QuantbentoError, match=rf"^{name}: its name would make the Python package '.*name another folder"
    ):
        create(Path(name))
    assert files(folder) == {}


@pytest.mark.parametrize("name", ["numpy", "json", "tests", "service", "quantbento"])
def test_a_package_that_would_hide_another_is_refused(folder, name):
    with pytest.raises(QuantbentoError, match=f"a Python package '{name}' would hide another module of that name"):
        create(Path(name))
    assert files(folder) == {}


def test_the_command_says_what_to_run_next(folder, capsys):
    assert cli.main(["new", "My Moons"]) == 0
    assert capsys.readouterr().out == (
        "wrote My Moons: README.md says what is in it. Next:\n  cd 'My Moons'\n"
        "  python save_models.py configs/my-moons.yaml\n  quantbento serve my-moons-onnx-int8\n  pytest\n"
    )
    assert cli.main(["new", "My Moons"]) == 2
    assert capsys.readouterr().err.startswith("error: My Moons is not empty")


def test_every_template_is_a_text():
    """Of another kind, a file would be a module of the library, or go into no wheel."""
    assert {p.suffix for p in new_project.TEMPLATE.rglob("*") if p.is_file()} == {".txt"}
