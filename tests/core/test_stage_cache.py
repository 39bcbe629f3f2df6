"""Finished stages come back as they were, or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from quantbento.core import stage_cache
from quantbento.core.errors import QuantbentoError
from quantbento.core.stage_cache import ENTRY, LOCK, MAC, StageCache, limit_bytes
from quantbento.core.user_key import key_file

ON = {"options": {"bits": 8}}
DATA = {"metrics": {"accuracy": 0.5}, "notes": ["one"]}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path, said) -> StageCache:
    return StageCache(tmp_path / "stages", {"model": "m"}, limit=10_000_000, say=said.append)


@pytest.fixture
def artifact(tmp_path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.pkl").write_bytes(b"pickle" * 100)
    (folder / "deep" / "model.safetensors").write_bytes(b"weights" * 100)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def entries(cache: StageCache) -> list[Path]:
    return sorted(p for p in cache.folder.iterdir() if p.name != LOCK)


def test_a_stage_comes_back_with_its_data_and_files(cache, artifact, tmp_path):
    assert cache.restore("quantized", ON, {"artifact": tmp_path / "new"}) is None
    assert not (tmp_path / "new").exists()
    cache.keep("quantized", ON, DATA, {"artifact": artifact})
    shutil.copytree(artifact, tmp_path / "expected")
    shutil.rmtree(artifact)
    assert cache.restore("quantized", ON, {"artifact": tmp_path / "new"}) == DATA
    assert files(tmp_path / "new") == files(tmp_path / "expected")
    (tmp_path / "new" / "model.pkl").write_bytes(b"changed by the run")
    assert cache.restore("quantized", ON, {"artifact": tmp_path / "newer"}) == DATA
    assert files(tmp_path / "newer") == files(tmp_path / "expected")


@pytest.mark.parametrize(
    ("stage", "depends", "common"),
    [
        ("evaluated", ON, {"model": "m"}),
        ("quantized", {"options": {"bits": 4}}, {"model": "m"}),
        ("quantized", ON, {"model": "other"}),
    ],
    ids=["stage", "options", "model"],
)
def test_whatever_it_depends_on_is_part_of_its_key(cache, stage, depends, common):
    cache.keep("quantized", ON, DATA)
    cache.common = common
    assert cache.restore(stage, depends) is None


def test_the_order_of_keys_says_nothing(cache):
    cache.keep("quantized", {"a": 1, "b": 2}, DATA)
    assert cache.restore("quantized", {"b": 2, "a": 1}) == DATA


def test_anew_finds_nothing_and_replaces_what_is_there(cache):
    cache.keep("quantized", ON, "old")
    cache.keep("quantized", ON, "not written: there is one")
    assert cache.restore("quantized", ON) == "old"
    cache.anew = True
    assert cache.restore("quantized", ON) is None
    cache.keep("quantized", ON, "new")
    cache.anew = False
    assert cache.restore("quantized", ON) == "new"


def _change_a_file(entry: Path) -> None:
    (entry / "artifact" / "model.pkl").write_bytes(b"malice" * 100)


def _remove_a_file(entry: Path) -> None:
    (entry / "artifact" / "model.pkl").unlink()


def _change_the_entry(entry: Path) -> None:
    content = json.loads((entry / ENTRY).read_text())
    content["data"] = {"metrics": {"accuracy": 1.0}}
    (entry / ENTRY).write_text(json.dumps(content))


def _change_a_file_and_its_hash(entry: Path) -> None:
    import hashlib

    _change_a_file(entry)
    content = json.loads((entry / ENTRY).read_text())
    content["files"]["artifact/model.pkl"] = hashlib.sha256(b"malice" * 100).hexdigest()
    (entry / ENTRY).write_text(json.dumps(content))


def _of_another_user(entry: Path) -> None:
    key_file().write_bytes(b"k" * 32)


def _no_signature(entry: Path) -> None:
    (entry / MAC).unlink()


def _cut_short(entry: Path) -> None:
    (entry / ENTRY).write_bytes((entry / ENTRY).read_bytes()[:40])


@pytest.mark.parametrize(
    "tamper",
    [
        _change_a_file,
        _remove_a_file,
        _change_the_entry,
        _change_a_file_and_its_hash,
        _of_another_user,
        _no_signature,
        _cut_short,
    ],
    ids=lambda f: f.__name__.strip("_"),
)
def test_what_was_changed_is_not_used_and_is_made_again(cache, artifact, tmp_path, said, tamper):
    cache.keep("quantized", ON, DATA, {"artifact": artifact})
    [entry] = entries(cache)
    tamper(entry)
    assert cache.restore("quantized", ON, {"artifact": tmp_path / "new"}) is None
    assert files(tmp_path / "new") == {}, "nothing of it may be loaded"
    assert said[0].startswith("quantized: what an earlier run kept is not used: ")
    cache.keep("quantized", ON, DATA, {"artifact": artifact})
    assert cache.restore("quantized", ON, {"artifact": tmp_path / "newer"}) == DATA


def test_an_entry_put_in_anothers_place_is_not_used(cache):
    cache.keep("quantized", ON, "of 8 bits")
    [entry] = entries(cache)
    entry.rename(cache.folder / cache.key("quantized", {"options": {"bits": 4}}))
    assert cache.restore("quantized", {"options": {"bits": 4}}) is None


def test_the_least_recently_used_goes_first(cache, tmp_path):
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(bytes(1000))
    cache.limit = 3 * 1400
    for age, name in enumerate("abc"):
        cache.keep("quantized", {"name": name}, name, {"graph": folder})
        os.utime(cache.folder / cache.key("quantized", {"name": name}) / ENTRY, (age, age))
    assert cache.restore("quantized", {"name": "a"}) == "a"  # used now, so b is the oldest
    cache.keep("quantized", {"name": "d"}, "d", {"graph": folder})
    found = {name: cache.restore("quantized", {"name": name}) for name in "abcd"}
    assert found == {"a": "a", "b": None, "c": "c", "d": "d"}
    assert sum(p.stat().st_size for p in cache.folder.rglob("*") if p.is_file()) <= cache.limit


def test_what_is_larger_than_the_limit_is_not_kept_and_pushes_nothing_out(cache, tmp_path, said):
    cache.keep("quantized", {"name": "small"}, "small")
    (tmp_path / "huge").mkdir()
    (tmp_path / "huge" / "model.onnx").write_bytes(bytes(2000))
    cache.limit = 1500
    cache.keep("quantized", {"name": "huge"}, "huge", {"graph": tmp_path / "huge"})
    assert cache.restore("quantized", {"name": "huge"}) is None
    assert cache.restore("quantized", {"name": "small"}) == "small"
    assert said == ["quantized: not kept for a resumed run: it is larger than QUANTBENTO_CACHE_GB allows"]


def test_a_full_disk_is_said_and_leaves_nothing(cache, said, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    (cache.folder.parent / "some").mkdir()
    (cache.folder.parent / "some" / "file").write_text("x")
    monkeypatch.setattr(stage_cache.shutil, "copyfile", full)
    cache.keep("quantized", ON, DATA, {"artifact": cache.folder.parent / "some"})
    assert said == ["quantized: not kept for a resumed run: [Errno 28] No space left on device"]
    assert entries(cache) == []


def test_what_a_killed_process_left_is_removed(cache):
    cache.keep("quantized", {"name": "a"}, "a")
    (cache.folder / "staging-dead").mkdir()
    (cache.folder / "staging-dead" / ENTRY).write_text("{}")
    cache.keep("quantized", {"name": "b"}, "b")
    assert [p.name for p in entries(cache) if p.name.startswith("staging")] == []


def _keep_and_read(folder: Path, number: int) -> int:
    cache = StageCache(folder, {}, limit=20_000)
    found = 0
    for turn in range(15):
        cache.keep("quantized", {"turn": turn}, turn, {"artifact": folder.parent / "artifact"})
        target = folder.parent / f"target-{number}-{turn}"
        found += cache.restore("quantized", {"turn": turn}, {"artifact": target}) == turn
    return found


def test_two_runs_at_once_do_not_disturb_each_other(cache, artifact):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(_keep_and_read, [(cache.folder, number) for number in range(3)])
    assert found == [15, 15, 15]
    assert not list(cache.folder.glob("staging-*"))


def test_without_a_folder_nothing_is_kept(tmp_path):
    StageCache().keep("quantized", ON, DATA)
    assert StageCache().restore("quantized", ON) is None


@pytest.mark.parametrize(("told", "bytes_"), [(None, 20_000_000_000), ("0", 0), ("0.5", 500_000_000)])
def test_the_limit_is_told_by_the_environment(monkeypatch, told, bytes_):
    monkeypatch.delenv("QUANTBENTO_CACHE_GB")
    if told is not None:
        monkeypatch.setenv("QUANTBENTO_CACHE_GB", told)
    assert limit_bytes() == bytes_


@pytest.mark.parametrize("told", ["a lot", "-1", "nan"])
def test_a_limit_that_is_no_number_is_an_error(monkeypatch, told):
    monkeypatch.setenv("QUANTBENTO_CACHE_GB", told)
    with pytest.raises(QuantbentoError, match=f"QUANTBENTO_CACHE_GB='{told}' is no number of gigabytes"):
        limit_bytes()
