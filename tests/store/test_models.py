"""A saved model is found, whole and loadable, by us and by BentoML; one that was changed since is refused unread."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bentoml
import numpy as np
import pytest

from quantbento import store
from quantbento.core import machine
from quantbento.core.errors import StoreError
from quantbento.runtimes import artifact
from quantbento.runtimes.onnx import OnnxRuntime
from quantbento.store import manifest

LABELS = {"recipe": "demo", "scheme": "int8-dynamic"}


def write_artifact(folder: Path, scale: float = 1.0, custom_objects: dict[str, Any] | None = None) -> Path:
    """An artifact of the tensor task that multiplies three numbers by `scale`; made without torch."""
    from tests.jobs import onnx_file, tensor_task

    folder.mkdir(parents=True)
    weights = np.eye(3, dtype=np.float32) * np.float32(scale)
    nodes = [("MatMul", ["x", "w"], ["y"])]
    onnx_file(folder / "model.onnx", nodes, {"x": ["batch", 3]}, {"y": ["batch", 3]}, {"w": weights})
    artifact.write(folder, tensor_task({"x": [3]}, ["y"]), OnnxRuntime, {}, custom_objects or {})
    return folder


def answer(tag: str) -> list[float]:
    """What the stored model answers to [1, 2, 3]."""
    return store.load(tag, threads=1)([[1, 2, 3]])[0].tolist()


@pytest.fixture
def made(tmp_path, bento_home):
    return write_artifact(tmp_path / "artifact")


@pytest.fixture
def saved(made):
    return store.save("demo", made, {"variant": {"name": "int8"}}, LABELS, {"size_bytes": 10, "speedup": None})


class Trap:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


class Shift:
    """A user's callable, such as a recipe's `custom_objects` names."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, item):
        return [value + self.by for value in item]


# Saved and found


def test_bentoml_sees_the_model_with_labels_and_metadata_but_no_none(saved):
    [listed] = bentoml.models.list()
    assert str(listed.tag) == str(bentoml.models.get("demo").tag) == saved.tag
    assert listed.info.labels == LABELS
    assert listed.info.metadata == {"size_bytes": 10}


def test_the_version_is_the_manifests_hash(saved):
    raw = (saved.path / manifest.MANIFEST).read_bytes()
    assert saved.tag == f"demo:{manifest.version_of(raw)}"
    assert saved.verify()["variant"] == {"name": "int8"}


def test_the_stored_model_answers(saved):
    assert answer(saved.tag) == [1, 2, 3]


def test_the_artifact_stays_and_later_changes_to_it_do_not_reach_the_store(made, saved):
    for file in made.iterdir():
        with file.open("r+b") as opened:
            opened.write(b"overwritten")
    saved.verify()
    assert answer("demo") == [1, 2, 3]


def test_saving_the_same_again_gives_the_same_model(made, saved):
    again = store.save("demo", made, {"variant": {"name": "int8"}}, LABELS, {})
    assert again.tag == saved.tag
    assert [m.tag for m in store.models()] == [saved.tag]


@pytest.mark.parametrize("form", ["demo", "demo:latest", "demo:{version}", "DEMO:{version}"])
def test_find_takes_a_name_latest_or_a_version(tmp_path, made, saved, form):
    newest = store.save("demo", write_artifact(tmp_path / "other", 2), {}, {}, {})
    version = newest.tag.partition(":")[2]
    assert store.find(form.format(version=version)) == newest
    assert store.find(saved.tag) == saved


def test_find_takes_a_tag_of_bentomls(saved):
    assert store.find(bentoml.models.get("demo").tag) == saved


def test_a_missing_name_tells_the_nearest_and_what_is_stored(saved):
    with pytest.raises(StoreError, match=r"no model 'demi'.*did you mean 'demo'\? \(stored: demo\).*save_models\.py"):
        store.find("demi")


def test_a_missing_version_tells_the_nearest_and_what_is_stored(saved):
    version = saved.tag.partition(":")[2]
    wrong = version[:-1] + ("0" if version[-1] != "0" else "1")
    with pytest.raises(StoreError, match=rf"no version '{wrong}' of 'demo'.*did you mean '{version}'"):
        store.find(f"demo:{wrong}")


def test_an_empty_store_says_so(bento_home):
    with pytest.raises(StoreError, match="the store is empty"):
        store.find("demo")


@pytest.mark.parametrize("tag", ["", ":", ".", "..", "..:models", "demo/..:demo", "../models:demo", "{path}", "/:tmp"])
def test_a_tag_reaches_nothing_outside_the_store(saved, bento_home, tag):
    with pytest.raises(StoreError):
        store.delete(tag.format(path=saved.path))
    assert [m.tag for m in store.models()] == [saved.tag]
    assert saved.verify()


def test_a_files_folder_inside_a_model_is_no_model(tmp_path, bento_home):
    made = write_artifact(tmp_path / "artifact")
    (made / "tokenizer").mkdir()
    (made / "tokenizer" / "vocab.txt").write_text("a")
    saved = store.save("demo", made, {}, {}, {})
    with pytest.raises(StoreError, match="no model"):
        store.delete(f"demo/{saved.path.name}:tokenizer")
    saved.verify()


def test_models_are_listed_by_name_and_newest_first(tmp_path, bento_home):
    for number, name in enumerate(["b", "a", "b"]):
        store.save(name, write_artifact(tmp_path / str(number), number + 1), {"number": number}, {}, {})
    assert [m.manifest["number"] for m in store.models()] == [1, 2, 0]
    assert [m.manifest["number"] for m in store.models("b")] == [2, 0]
    assert store.models("c") == []


def test_created_is_an_iso_time(saved):
    assert saved.created == bentoml.models.get(saved.tag).creation_time.isoformat()


def test_a_model_of_bentomls_own_is_listed_and_refused(bento_home):
    with bentoml.models.create("foreign") as model:
        Path(model.path_of("weights")).write_bytes(b"w")
    [listed] = store.models()
    with pytest.raises(StoreError, match=r"has no manifest\.json: it was not saved by quantbento"):
        store.load(listed.tag)


def test_latest_may_be_read_by_whom_other_files_may(saved, tmp_path):
    (tmp_path / "ordinary").touch()
    assert (saved.path.parent / "latest").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


# Custom objects


def test_custom_objects_are_stored_as_they_are(tmp_path, bento_home):
    made = write_artifact(tmp_path / "artifact", custom_objects={"preprocess": Shift(10)})
    before = (made / artifact.CUSTOM_OBJECTS).read_bytes()
    saved = store.save("demo", made, {}, {}, {})
    assert (made / artifact.CUSTOM_OBJECTS).read_bytes() == before
    assert (saved.path / artifact.CUSTOM_OBJECTS).read_bytes() == before
    assert answer(saved.tag) == [11, 12, 13]


def test_saving_unpickles_nothing(tmp_path, bento_home):
    marker = tmp_path / "marker"
    made = write_artifact(tmp_path / "artifact", custom_objects={"trap": Trap(marker)})
    store.save("demo", made, {}, {}, {})
    assert not marker.exists()


# Touched since


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def link_elsewhere(path: Path) -> None:
    elsewhere = path.parents[4] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def add(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"added")


@pytest.mark.parametrize(
    ("touch", "file", "message"),
    [
        pytest.param(flip, "model.onnx", "model.onnx was changed", id="flipped-bit"),
        pytest.param(flip, "artifact.json", "artifact.json was changed", id="flipped-bit-in-description"),
        pytest.param(Path.unlink, "model.onnx", "model.onnx was removed", id="removed"),
        pytest.param(add, "extra.bin", "extra.bin was added", id="added"),
        pytest.param(add, "sub/extra.bin", "sub/extra.bin was added", id="added-in-subfolder"),
        pytest.param(add, "sub/manifest.json", "sub/manifest.json was added", id="added-under-a-trusted-name"),
        pytest.param(link_elsewhere, "model.onnx", "model.onnx was changed", id="symlink-in-its-place"),
        pytest.param(flip, "manifest.json", "manifest.json", id="changed-manifest"),
        pytest.param(Path.unlink, "manifest.json", "has no manifest.json", id="removed-manifest"),
    ],
)
def test_a_touched_model_is_refused_and_the_file_named(saved, touch, file, message):
    touch(saved.path / file)
    with pytest.raises(StoreError) as refused:
        store.load("demo")
    assert saved.tag in str(refused.value)
    assert message in str(refused.value)


def test_a_manifest_that_vouches_for_a_changed_file_is_refused(saved):
    flip(saved.path / "model.onnx")
    forged, _ = manifest.build(saved.path, {"variant": {"name": "int8"}})
    (saved.path / manifest.MANIFEST).write_bytes(forged)
    with pytest.raises(StoreError, match=r"manifest\.json was changed"):
        store.load("demo")


def test_a_model_of_a_newer_quantbento_is_refused(made, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr(manifest, "SCHEMA_VERSION", 2)
        store.save("demo", made, {}, {}, {})
    with pytest.raises(StoreError, match="its manifest has schema_version 2, this quantbento reads up to 1"):
        store.load("demo")


@pytest.mark.parametrize(
    ("custom_objects", "planted", "load_plainly"),
    [
        ({"scale": 2.0}, artifact.CUSTOM_OBJECTS, lambda model: artifact.load(model.path, threads=1)),
        ({}, artifact.CUSTOM_OBJECTS, lambda model: artifact.load(model.path, threads=1)),
        ({}, "custom_objects.pkl", lambda model: bentoml.models.get(model.tag).custom_objects),
    ],
    ids=["replaced", "added", "added-where-bentoml-looks"],
)
def test_a_planted_pickle_is_not_run(tmp_path, bento_home, custom_objects, planted, load_plainly):
    made = write_artifact(tmp_path / "artifact", custom_objects=custom_objects)
    saved = store.save("demo", made, {}, {}, {})
    marker = tmp_path / "marker"
    (saved.path / planted).write_bytes(pickle.dumps({"scale": Trap(marker)}))
    with pytest.raises(StoreError, match=rf"{planted} was {'changed' if custom_objects else 'added'}"):
        store.load("demo")
    assert not marker.exists()

    load_plainly(saved)  # the control: without the check it runs
    assert marker.exists()


# Deleted


def test_deleting_the_newest_makes_the_one_before_it_the_latest(tmp_path, made, saved):
    newest = store.save("demo", write_artifact(tmp_path / "other", 2), {}, {}, {})
    assert store.delete("demo") == newest.tag
    assert f"demo:{(saved.path.parent / 'latest').read_text()}" == saved.tag
    assert store.find("demo") == saved
    assert str(bentoml.models.get("demo:latest").tag) == saved.tag
    assert not newest.path.exists()


def test_deleting_an_older_one_leaves_the_latest(tmp_path, made, saved):
    newest = store.save("demo", write_artifact(tmp_path / "other", 2), {}, {}, {})
    store.delete(saved.tag)
    assert str(bentoml.models.get("demo:latest").tag) == newest.tag
    assert [str(m.tag) for m in bentoml.models.list()] == [newest.tag]


def test_deleting_the_last_version_leaves_no_name(saved):
    store.delete(saved.tag)
    assert bentoml.models.list() == []
    assert list(store.models_folder().iterdir()) == []


@pytest.mark.parametrize("file", [manifest.MANIFEST, manifest.BENTOML_FILE])
def test_a_damaged_model_can_be_deleted(saved, file):
    (saved.path / file).unlink()
    assert store.delete("demo") == saved.tag
    assert store.models() == []


def test_an_empty_version_left_by_another_tool_can_be_found_and_deleted(saved, bento_home):
    (bento_home / "models" / "demo" / "broken").mkdir()
    with pytest.raises(bentoml.exceptions.BentoMLException):
        bentoml.models.list()
    assert store.find("demo") == saved
    assert "demo:broken" in [m.tag for m in store.models()]
    store.delete("demo:broken")
    assert [str(m.tag) for m in bentoml.models.list()] == [saved.tag]


def test_a_missing_or_wrong_latest_is_no_harm(tmp_path, made, saved):
    newest = store.save("demo", write_artifact(tmp_path / "other", 2), {}, {}, {})
    latest = newest.path.parent / "latest"
    latest.write_text("gone")
    assert store.find("demo") == newest
    latest.unlink()
    assert store.find("demo") == newest


def test_deleting_what_is_not_there_names_the_nearest(saved):
    with pytest.raises(StoreError, match="did you mean 'demo'"):
        store.delete("demos")
    assert saved.verify()


# Room and places


def test_too_little_room_is_one_error_before_anything_is_written(tmp_path, saved, monkeypatch):
    other = write_artifact(tmp_path / "other", 2)
    before = tree(store.models_folder().parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=1000, used=999, free=1))
    with pytest.raises(StoreError, match=r"storing other needs .* MB free in .*models, which has 0 MB"):
        store.save("demo", other, {}, {}, {})
    assert tree(store.models_folder().parent) == before


@pytest.mark.parametrize("other_file_system", [False, True], ids=["same-file-system", "other-file-system"])
def test_temporary_files_may_lie_elsewhere_and_none_stay(tmp_path, made, monkeypatch, other_file_system):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    if other_file_system:
        monkeypatch.setattr(os, "link", refuse_links)
    saved = store.save("demo", made, {}, {}, {})
    assert answer(saved.tag) == [1, 2, 3]
    assert list(elsewhere.iterdir()) == []


def refuse_links(source, target, **_):
    """Fails as a link between two file systems does."""
    raise OSError(18, "Invalid cross-device link", str(source), None, str(target))


def test_a_store_that_is_not_there_yet_is_made(made, bento_home):
    (bento_home / "models").rmdir()
    assert store.save("demo", made, {}, {}, {}).verify()


def read_only(path, *_):
    """Fails as `os.mkdir` does on a read-only file system."""
    raise OSError(30, "Read-only file system", str(path))


def test_reading_makes_no_folder_and_needs_none_but_the_models(saved, bento_home, monkeypatch):
    shutil.rmtree(bento_home / ".quantbento")
    before = list(bento_home.iterdir())
    monkeypatch.setattr(os, "mkdir", read_only)
    assert store.find(saved.tag) == store.find("demo") == saved
    assert store.models() == [saved]
    assert saved.aliases == []
    assert saved.digest.startswith(f"sha256:{saved.path.name}")
    assert answer(saved.tag) == [1, 2, 3]
    with pytest.raises(StoreError, match="no version 'production'"):
        store.find("demo:production")
    assert store.models_folder() == bento_home / "models"
    assert list(bento_home.iterdir()) == before


def test_a_store_without_its_folder_is_an_empty_one(bento_home, monkeypatch):
    (bento_home / "models").rmdir()
    monkeypatch.setattr(os, "mkdir", read_only)
    assert store.models() == []
    with pytest.raises(StoreError, match="the store is empty"):
        store.find("demo")


def test_writing_to_a_read_only_store_is_one_error(made, saved, monkeypatch):
    shutil.rmtree(store.models_folder().parent / ".quantbento")
    with monkeypatch.context() as mounted:
        mounted.setattr(os, "mkdir", read_only)
        with pytest.raises(StoreError, match="could not be deleted: Read-only file system"):
            store.delete("demo")
    assert saved.verify()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_loading_warns_of_a_cpu_that_computes_otherwise(made, monkeypatch, caplog):

    content = {"variant": {}, "environment": {"cpu": "that one", "cpu_flags": ["avx2", "avx_vnni"]}}
    tag = store.save("demo", made, content, LABELS, {}).tag
    monkeypatch.setattr(machine, "_cpu", lambda: ("this one", {"avx2"}))
    assert answer(tag) == [1, 2, 3]
    assert f"{tag}: it was judged on a CPU with VNNI (that one)" in caplog.text
