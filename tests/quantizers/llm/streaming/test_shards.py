"""A finished shard is trusted only as it was written, by this user, from the same things."""

from __future__ import annotations

import json

import pytest

from quantbento.quantizers.llm.streaming.shards import Shards

NAME = "model-00001-of-00002.safetensors"


@pytest.fixture(autouse=True)
def own_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def written(tmp_path, key: str = "a") -> Shards:
    shards = Shards(tmp_path / "shards", key)
    shards.finish(NAME, lambda path: path.write_bytes(b"weights"))
    return shards


def test_a_finished_shard_is_found_by_a_later_run(tmp_path):
    assert Shards(tmp_path / "shards", "a").finished(NAME) is None
    written(tmp_path)
    again = Shards(tmp_path / "shards", "a")
    assert again.finished(NAME) > 0 and again.finished("model-00002-of-00002.safetensors") is None
    assert sorted(p.suffix for p in again.folder.iterdir()) == [".json", ".safetensors"]


def test_a_shard_that_was_changed_or_made_from_something_else_is_not(tmp_path):
    shards = written(tmp_path)
    assert Shards(shards.folder, "b").finished(NAME) is None
    (shards.folder / NAME).write_bytes(b"weightz")
    assert shards.finished(NAME) is None


def test_a_record_that_was_written_by_another_user_is_not(tmp_path, monkeypatch):
    shards = written(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert shards.finished(NAME) is None


def test_a_record_that_is_cut_short_is_not(tmp_path):
    shards = written(tmp_path)
    record = (shards.folder / NAME).with_suffix(".json")
    told = json.loads(record.read_text())
    record.write_text(record.read_text()[:20])
    assert shards.finished(NAME) is None
    record.write_text(json.dumps(told | {"peak_memory_bytes": 1}))
    assert shards.finished(NAME) is None


def test_a_run_that_dies_while_it_writes_leaves_no_finished_shard(tmp_path):
    shards = written(tmp_path)

    def die(path):
        path.write_bytes(b"wei")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.finish(NAME, die)
    assert shards.finished(NAME) is None
