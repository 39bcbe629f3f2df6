"""A file of the store has its old or its new content, whenever its writer stops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantbento.core.errors import StoreError
from quantbento.store import atomic


def write(path: Path, content: bytes) -> None:
    with atomic.changing(f"{path.name} could not be written") as staged:
        atomic.write(path, content, staged)


def left(home: Path) -> set[str]:
    return {p.name for p in (home / ".quantbento").iterdir()} - {"store.lock", "folder"}


@pytest.fixture
def path(bento_home):
    path = bento_home / ".quantbento" / "folder" / "file"
    write(path, b"old")
    return path


def test_write_gives_a_file_its_content_and_leaves_nothing_else(path, bento_home):
    assert path.read_bytes() == b"old"
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert left(bento_home) == set()


def test_write_keeps_who_may_read_the_file(path):
    path.chmod(0o640)
    write(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_interrupted_leaves_the_old_content(path, bento_home, monkeypatch, step):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os if step == "fsync" else Path, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert left(bento_home) == set()
    monkeypatch.undo()


def test_a_full_disk_is_one_error_that_says_what_failed(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"^file could not be written: No space left on device"):
        write(path, b"new")
    assert path.read_bytes() == b"old"


def test_paths_are_told_without_making_them(bento_home):
    (bento_home / "models").rmdir()
    before = list(bento_home.iterdir())
    assert atomic.models_path() == bento_home / "models"
    assert atomic.own_path() == bento_home / ".quantbento"
    assert list(bento_home.iterdir()) == before
