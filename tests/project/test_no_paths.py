"""Nothing that is stored or packed says where it was made: everyone who gets a Bento can read all its files."""

from __future__ import annotations

import sysconfig
import tempfile
from pathlib import Path

import pytest

import quantbento
from quantbento import store
from quantbento.recipe import Benchmark, load_recipe
from tests.built_bento import built_encoder
from tests.conftest import ROOT, model_store

SERVED = ("tiny-encoder-onnx-int8", "tiny-classifier-torch-int8", "tiny-tensor-onnx-int8")
TWO_MOONS = ("two-moons-torch-int8", "two-moons-onnx-int8")


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """Folders of this machine that say who made a model, and where."""
    folders = {
        "the working folder": ROOT,
        "the home folder": Path.home(),
        "the installed packages": Path(sysconfig.get_path("purelib")),
        "the tests' folder": tmp_path_factory.getbasetemp(),
        "a workspace": Path(tempfile.gettempdir()) / "quantbento-",
    }
    return {what: str(folder) for what, folder in folders.items() if folder != Path(folder.anchor)}


@pytest.fixture(scope="module")
def two_moons(tmp_path_factory) -> Path:
    """A store with both variants of `configs/two-moons.yaml`."""
    folder = tmp_path_factory.mktemp("two-moons")
    recipe = load_recipe(ROOT / "configs/two-moons.yaml")
    quick = Benchmark(items=4, rounds=3, latency_calls=10, memory=False)
    with model_store(folder / "bentoml") as home:
        report = quantbento.save(recipe.model_copy(update={"benchmark": quick}), output=folder / "reports")
    assert report.exit_code == 0, report.variants
    return home


@pytest.mark.parametrize("name", SERVED)
def test_a_stored_model_names_no_folder(served_home, places, name):
    with model_store(served_home):
        assert mentions(store.find(name).path, places) == ""


@pytest.mark.parametrize("name", TWO_MOONS)
def test_a_stored_model_of_the_user_s_own_code_names_no_folder(two_moons, places, name):
    with model_store(two_moons):
        assert mentions(store.find(name).path, places) == ""


@pytest.mark.slow
def test_a_bento_names_no_folder(served_home, places):
    assert mentions(built_encoder(served_home).path, places) == ""


def test_a_folder_is_found_where_it_is_named(tmp_path, places):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\x00" + str(ROOT).encode() + b"/src")
    assert mentions(tmp_path, places) == f"deep/file names the working folder: {ROOT}/src"


def mentions(folder: Path, places: dict[str, str]) -> str:
    """Every file that names one of the places, with the text found there: one line per file and place."""
    found = []
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        for what, place in places.items():
            if (start := data.find(place.encode())) >= 0:
                text = data[start : start + len(place) + 60].decode(errors="replace").splitlines()[0]
                found.append(f"{path.relative_to(folder)} names {what}: {text}")
    return "\n".join(found)
