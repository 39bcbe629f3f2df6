"""Labels change in BentoML's file and nowhere else, and those that the save wrote stay."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import bentoml
import pytest
import yaml

from quantbento import store
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.judging.rows import ReferenceRow, VariantRow
from quantbento.making.resolve import resolve
from quantbento.making.storing import keep
from quantbento.recipe import read_recipe
from quantbento.store import labels, manifest
from tests.store.test_models import tree, write_artifact

OF_THE_SAVE = {"recipe": "demo", "task": "tensor", "passed": "true"}


@pytest.fixture
def saved(tmp_path, bento_home):
    metadata = {"accuracy": 0.1 + 0.2, "description": "größer: 1.10", "version": "1.10", "nested": {"a": [1, True]}}
    return store.save("demo", write_artifact(tmp_path / "artifact"), {}, {**OF_THE_SAVE, "team": "search"}, metadata)


def bentomls_file(model: store.StoredModel) -> Path:
    return model.path / manifest.BENTOML_FILE


def test_bentoml_shows_labels_that_were_set_changed_and_removed(saved):
    assert labels.change("demo", ["stage=canary", "url=a=b, c"]) == (
        saved.tag,
        {"team": "search", "stage": "canary", "url": "a=b, c"},
    )
    labels.change(saved.tag, ["stage=stable", "team="])
    assert bentoml.models.get("demo").info.labels == {**OF_THE_SAVE, "stage": "stable", "url": "a=b, c"}
    assert labels.users(labels.read(saved)) == {"stage": "stable", "url": "a=b, c"}


def test_nothing_else_of_the_model_changes(saved):
    before, text, created = tree(saved.path), bentomls_file(saved).read_text(), saved.created
    labels.change("demo", ["stage=canary"])
    after = tree(saved.path)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {manifest.BENTOML_FILE}
    assert bentomls_file(saved).read_text() == text.replace("  team: search\n", "  team: search\n  stage: canary\n")
    assert store.find("demo").created == created
    assert saved.verify()

    labels.change("demo", ["stage="])
    assert bentomls_file(saved).read_text() == text


def test_a_model_without_labels_gets_its_first(tmp_path, bento_home):
    saved = store.save("demo", write_artifact(tmp_path / "artifact"), {}, {}, {})
    assert labels.read(saved) == {}
    labels.change("demo", ["stage=canary"])
    assert bentoml.models.get("demo").info.labels == {"stage": "canary"}


def test_everything_wrong_is_told_at_once_and_nothing_is_changed(saved):
    before = tree(saved.path)
    changes = ["stage=canary", "passed=false", "plain", "=x", "taem=", "stage=stable"]
    with pytest.raises(QuantbentoError) as refused:
        labels.change("demo", changes)
    first, *problems = str(refused.value).splitlines()
    assert first == f"no label of {saved.tag} was changed:"
    assert len(problems) == 5
    for problem, told in zip(
        problems,
        (
            "'passed' was written by the save and stays, as all of recipe, task",
            "'plain': write key=value to set a label, key= to remove it",
            "'=x': write key=value",
            "no label 'taem' to remove; did you mean 'team'?",
            "'stage' is given twice",
        ),
        strict=True,
    ):
        assert told in problem
    assert tree(saved.path) == before


def test_labels_of_the_save_are_those_that_the_pipeline_writes(tmp_path, monkeypatch):
    written = {}
    monkeypatch.setattr(store, "save", lambda *given: written.update(given[3]))
    recipe = {
        "schema_version": 1,
        "name": "demo",
        "task": "tensor",
        "model": {"factory": "somewhere:model"},
        "evaluation": {"factory": "somewhere:samples"},
        "labels": {"team": "search"},
        "variants": [{"name": "int8", "quantizer": "onnx-dynamic"}],
    }
    resolved, _ = resolve(read_recipe(recipe))
    row = VariantRow("int8", "onnx-dynamic", "int8-dynamic", {}, "onnx")
    baseline = ReferenceRow("torch-fp32", "torch", 1, 1.0, {}, {}, 1.0, {}, None)
    plan = SimpleNamespace(recipe=resolved.recipe, fingerprints={"int8": ""}, source={}, identities={"evaluation": {}})
    keep(plan, {}, [baseline], row, resolved.variants[0].spec, tmp_path, {})
    assert set(written) == {*labels.OWN, "team"} - {"judged"}
    written.clear()
    row.judged = False
    keep(plan, {}, [], row, resolved.variants[0].spec, tmp_path, {})
    assert set(written) == {*labels.OWN, "team"} - {"passed"}


@pytest.mark.parametrize("content", [None, "[]", "labels: [a]", "a: b: c", b"\xff"], ids=repr)
def test_a_damaged_file_of_bentomls_is_one_error(saved, content):
    if content is None:
        bentomls_file(saved).unlink()
    else:
        bentomls_file(saved).write_bytes(content if isinstance(content, bytes) else content.encode())
    for use in (lambda: labels.read(saved), lambda: labels.change("demo", ["a=b"])):
        with pytest.raises(StoreError, match=rf"{saved.tag}: model\.yaml is damaged.*quantbento delete {saved.tag}"):
            use()


def test_a_change_that_is_interrupted_leaves_the_old_labels(saved, monkeypatch):
    before = tree(saved.path)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", interrupted)
        labels.change("demo", ["stage=canary"])
    assert tree(saved.path) == before


def test_a_model_that_is_deleted_meanwhile_is_not_made_again(saved):
    copy = store.StoredModel(saved.tag, saved.path)
    shutil.rmtree(saved.path)
    with pytest.raises(StoreError):
        labels.read(copy)
    with pytest.raises(StoreError, match="no model 'demo'"):
        labels.change(saved.tag, ["a=b"])
    assert not saved.path.exists()


def test_labels_are_safe_to_read_whatever_they_say(saved):
    value = "'yes': [1, {a: !!python/object:x}] # no comment"
    labels.change("demo", [f"note={value}", "number=1e3", "truth=no"])
    assert labels.users(labels.read(saved)) == {"team": "search", "note": value, "number": "1e3", "truth": "no"}
    assert yaml.safe_load(bentomls_file(saved).read_text())["labels"]["truth"] == "no"
    assert bentoml.models.get("demo").info.labels["note"] == value
