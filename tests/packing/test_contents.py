"""What is in a Bento, read from what BentoML wrote; a model that is gone or changed is an error."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.packing.contents import Contents
from quantbento.runtimes import artifact
from tests.built_bento import ENCODER
from tests.conftest import model_store
from tests.store.test_models import flip, write_artifact
from tests.stored_bento import write_bento


@pytest.fixture
def moved(encoder, served_home, tmp_path):
    """The encoder's Bento and its model in a store of the test's own."""
    home = tmp_path / "home"
    for folder in (f"bentos/{encoder.bento.name}", f"models/{ENCODER}"):
        shutil.copytree(served_home / folder, home / folder)
    with model_store(home):
        yield home


@pytest.mark.slow
def test_the_name_for_the_latest_gives_the_exact_tag(moved, encoder):
    contents = Contents.of("minilm")
    assert contents.tag == encoder.tag
    assert (contents.bento.name, contents.bento.version) == tuple(encoder.tag.split(":"))
    assert contents.path == moved / "bentos" / contents.bento.name / contents.bento.version
    assert contents.bento.service == "service:Embedding"


@pytest.mark.slow
def test_a_model_has_its_digest_size_and_scheme(moved):
    [model] = Contents.of("minilm").models
    stored = store.find(ENCODER)
    assert model.stored == stored
    assert model.digest == stored.digest
    assert model.size_bytes == sum(p.stat().st_size for p in stored.path.rglob("*") if p.is_file())
    assert model.scheme == "int8-dynamic"


@pytest.mark.slow
def test_a_newer_version_in_the_store_is_not_the_bentos(moved, tmp_path):
    before = store.find(ENCODER).tag
    store.save(ENCODER, write_artifact(tmp_path / "newer"), {"variant": {}}, {}, {})
    assert store.find(ENCODER).tag != before
    assert [model.stored.tag for model in Contents.of("minilm").models] == [before]


@pytest.mark.slow
def test_a_missing_model_is_told_with_the_bento_and_how_to_get_it(moved, encoder):
    tag = encoder.models[0].stored.tag
    store.delete(tag)
    with pytest.raises(StoreError) as raised:
        Contents.of("minilm")
    assert str(raised.value).startswith(f"{encoder.tag}: no model {ENCODER!r} in the store")
    assert str(raised.value).endswith(f"If it was pulled: bentoml models pull {tag}")


@pytest.mark.slow
def test_a_damaged_model_is_told_with_its_file(moved, encoder):
    flip(store.find(ENCODER).path / "model.onnx")
    with pytest.raises(StoreError, match=rf"^{encoder.tag}: .*model.onnx was changed"):
        Contents.of("minilm")


def test_a_bento_that_names_a_model_twice_has_it_once(bento_home, demo_model):
    tag = write_bento(bento_home / "bentos", model=demo_model.tag)
    file = bento_home / "bentos" / tag.replace(":", "/") / "bento.yaml"
    description = yaml.safe_load(file.read_text())
    description["services"] *= 2
    file.write_text(yaml.safe_dump(description))
    assert [model.stored.tag for model in Contents.of(tag).models] == [demo_model.tag]


def test_a_bento_without_services_has_no_model_and_no_hints(bento_home):
    tag = write_bento(bento_home / "bentos")
    file = bento_home / "bentos" / tag.replace(":", "/") / "bento.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"services": []}))
    contents = Contents.of(tag)
    assert (contents.models, contents.bento.entry.resources) == ([], {})


@pytest.mark.slow
def test_what_the_build_file_says_of_the_image(encoder, for_a_gpu):
    assert for_a_gpu.image["base_image"].startswith("nvidia/cuda:")
    assert "gcc" in for_a_gpu.image["system_packages"]
    assert for_a_gpu.python_version == "3.12"
    assert for_a_gpu.bento.environment == {"PIP_BREAK_SYSTEM_PACKAGES": "1"}
    assert not encoder.image.get("system_packages")
    assert encoder.python_version == "3.11"
    assert encoder.bento.environment == {}


@pytest.mark.slow
def test_its_packages_and_its_size(encoder):
    assert encoder.requirements.is_file()
    assert encoder.packages["bentoml"] == version("bentoml")
    assert encoder.code_bytes == artifact.size_bytes(Path(encoder.path)) > 100_000
