"""What a name means to `quantbento build`: the folder's build file, a stored model, a build file of quantbento's."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.packing import target
from tests.serving.stored import save_stand_in


@pytest.fixture
def folder(tmp_path, bento_home, monkeypatch):
    """An empty folder, and a store with `moons`."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    save_stand_in("moons", "tensor", tmp_path / "a")
    return tmp_path


def write(path: str, text: str = "name: mine\n") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def test_a_stored_model_is_what_its_build_file_is_drafted_for(folder):
    found = target.find("moons")
    assert (found.file.data["name"], found.model, found.note) == ("moons", "moons", None)
    assert target.find(f"moons:{version()}").file.data["args"]["model"] == f"moons:{version()}"


def version() -> str:
    from quantbento import store

    return store.find("moons").tag.partition(":")[2]


def test_the_folders_build_file_wins_over_a_stored_model_and_says_so(folder):
    path = write("configs/bentos/moons.yaml", "name: mine\nargs: {model: other}\n")
    found = target.find("moons")
    assert (found.file.path, found.model) == (path, "other")
    assert found.note == "moons is a build file and a stored model; configs/bentos/moons.yaml was taken"
    assert target.find(f"moons:{version()}").note is None
    assert target.find(str(path)).note is None


def test_a_stored_model_wins_over_a_build_file_of_quantbentos(folder):
    assert target.find("two-moons").file.data["service"] == "service:TensorModel"
    assert target.find("two-moons").model == "two-moons-onnx-int8"
    save_stand_in("two-moons", "feature-extraction", folder / "b")
    found = target.find("two-moons")
    assert (found.model, found.file.task, found.note) == ("two-moons", "feature-extraction", None)


def test_without_a_name_it_is_the_folders_bentofile(folder):
    write("bentofile.yaml", "service: my_service:Mine\n")
    assert (target.find(None).file.path, target.find(None).model) == (Path("bentofile.yaml"), None)
    assert target.find(None, "given").model == "given"
    write("bentofile.yaml", "service: service:Default\n")
    assert target.find(None).model == "moons"
    save_stand_in("sun", "tensor", folder / "b")
    with pytest.raises(
        StoreError, match=r"2 models are stored; say which:\n  quantbento build moons  # tensor on onnx"
    ):
        target.find(None)


def test_without_a_name_and_a_bentofile_it_is_the_only_stored_model(folder):
    assert target.find(None).file.data["name"] == "moons"
    save_stand_in("sun", "tensor", folder / "b")
    assert target.find(None, "sun").file.data["name"] == "sun"
    with pytest.raises(StoreError, match="say which:\n  quantbento build moons"):
        target.find(None)


def test_an_unknown_name_is_told_with_the_nearest_of_both_kinds(folder):
    with pytest.raises(QuantbentoError) as raised:
        target.find("moon")
    said = str(raised.value)
    assert said.startswith(
        "no build file and no stored model 'moon'; did you mean 'moons'? (build files in configs/bentos"
    )
    assert said.endswith("; stored: 'moons')")
    with pytest.raises(QuantbentoError, match="did you mean 'two-moons'"):
        target.find("two-mons")


def test_an_unknown_version_of_a_known_name_is_told_as_such(folder):
    with pytest.raises(StoreError, match="no version '0a1b' of 'moons' in the store"):
        target.find("moons:0a1b")


def test_options_without_effect_are_refused(folder):
    with pytest.raises(QuantbentoError, match="--model sun would have no effect: moons is a stored model"):
        target.find("moons", "sun")
    write("configs/bentos/mine.yaml")
    with pytest.raises(QuantbentoError, match=r"configs/bentos/mine\.yaml is one already"):
        target.find("mine", None, Path("x.yaml"))


@pytest.mark.parametrize("path", ["/tmp/x.yaml", "../x.yaml", "x.json", "x"])
def test_a_build_file_is_written_below_the_folder_only(folder, path):
    with pytest.raises(QuantbentoError, match="is no YAML file below the current folder"):
        target.find("moons", None, Path(path))


def test_a_file_that_is_there_is_not_replaced(folder):
    write("x.yaml", "mine")
    with pytest.raises(QuantbentoError, match=r"--write x\.yaml: there is such a file already, which stays as it is"):
        target.find("moons", None, Path("x.yaml"))
    assert target.find("moons", None, Path("y.yaml")).file.path == Path("y.yaml")


def test_a_damaged_build_file_is_told_by_its_line(folder):
    write("configs/bentos/mine.yaml", "a: [\n")
    with pytest.raises(QuantbentoError, match=r"configs/bentos/mine\.yaml:\n  - line 2: not valid YAML"):
        target.find("mine")
