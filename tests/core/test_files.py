"""Weights are in two places but on disk only once; files that others write to are not shared."""

from __future__ import annotations

import errno
import os

import pytest

from quantbento.core.files import link_checkpoint, link_or_copy


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    for name in ("model.safetensors", "config.json", "code/own.py", ".cache/download.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_weights_are_linked_and_small_files_are_copies(source, target):
    link_checkpoint(source, target)
    assert {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()} == {
        "model.safetensors",
        "config.json",
        "code/own.py",
    }
    assert (target / "model.safetensors").samefile(source / "model.safetensors")
    (target / "config.json").write_text("changed")
    assert (source / "config.json").read_text() == "config.json"


def test_a_link_in_the_hubs_cache_is_followed(source, target, tmp_path):
    blob = (source / "model.safetensors").rename(tmp_path / "blob")
    (source / "model.safetensors").symlink_to(blob)
    link_checkpoint(source, target)
    assert not (target / "model.safetensors").is_symlink()
    assert (target / "model.safetensors").samefile(blob)


@pytest.mark.parametrize(("number", "copied"), [(errno.EXDEV, True), (errno.EPERM, True), (errno.ENOSPC, False)])
def test_a_file_that_cannot_be_linked_is_copied(source, target, monkeypatch, number, copied):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    place = target / "model.safetensors"
    if not copied:
        with pytest.raises(OSError, match="No space"):
            link_or_copy(source / place.name, place)
        return
    link_or_copy(source / place.name, place)
    assert place.read_text() == place.name
    assert not place.samefile(source / place.name)
