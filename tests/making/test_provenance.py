"""A report says what it was made from and how to make it again, and names no folder of this machine."""

from __future__ import annotations

import hashlib
import json

import yaml

from quantbento.making import plan, provenance
from tests.minimal_recipe import minimal


def write_recipe(folder, tiny_encoder):
    (folder / "texts.txt").write_text("the film was good\nthe film was bad\n")
    recipe = minimal(
        name="demo",
        task="feature-extraction",
        model={"path": str(tiny_encoder)},
        evaluation={"path": "texts.txt"},
        variants=[{"name": "int8", "quantizer": "torch-dynamic"}],
    )
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_it_names_and_hashes_files_without_their_folders(tmp_path, tiny_encoder, bento_home, monkeypatch):
    path = write_recipe(tmp_path, tiny_encoder)
    monkeypatch.chdir(tmp_path)
    found = provenance.describe(path, plan.make(path, None, False), None)
    assert found["recipe"]["file"] == "demo.yaml"
    assert found["recipe"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["recipe"]["content"]["variants"] == [{"name": "int8", "quantizer": "torch-dynamic"}]
    assert found["samples"]["evaluation"]["file"] == "texts.txt"
    assert found["source"]["path"] == tiny_encoder.name
    text = json.dumps(found)
    assert str(tmp_path) not in text
    assert "the film" not in text


def test_the_commands_are_those_of_the_same_run(tmp_path, tiny_encoder, bento_home, monkeypatch):
    path = write_recipe(tmp_path, tiny_encoder)
    planned = plan.make(path, ["int8"], False)
    elsewhere = provenance.describe(path, planned, ["int8"])["commands"]
    assert elsewhere[1:] == ["quantbento save demo.yaml --force --variant int8", "quantbento report demo.yaml"]
    monkeypatch.chdir(tmp_path.parent)
    [_, save, _] = provenance.describe(path, planned, None)["commands"]
    assert save == f"quantbento save {tmp_path.name}/demo.yaml --force"


def test_a_recipe_that_is_no_file_has_no_command(tmp_path, tiny_encoder, bento_home):
    path = write_recipe(tmp_path, tiny_encoder)
    found = provenance.describe(yaml.safe_load(path.read_text()), plan.make(path, None, False), None)
    assert found["commands"] == []
    assert "file" not in found["recipe"]
