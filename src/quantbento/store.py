"""Variants in the BentoML model store.

BentoML copies a new model straight into the store; interrupted, that leaves a version without its files, and from
then on listing anything fails. So a model is created in a store of its own beside the real one, and moved over in
one step. Readers see all of it or nothing, whatever happens to the writer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from quantbento import artifact, manifest
from quantbento.environment import other_cpu
from quantbento.errors import StoreError, did_you_mean
from quantbento.files import link_or_copy

LOCK_SECONDS = 60
logger = logging.getLogger("quantbento")


@dataclass(frozen=True)
class StoredModel:
    """A model in the store. Nothing of it was read yet."""

    tag: str
    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Its own hash and schema checked; the files are not."""
        return manifest.read(self.path, self.tag)

    def verify(self) -> dict[str, Any]:
        """The manifest, after every file was hashed; raises `StoreError` otherwise."""
        return manifest.verify(self.path, self.tag)

    def load(self, threads: int | None = None) -> artifact.Loaded:
        """The model, after every file was hashed; logs a warning where this CPU computes INT8 differently."""
        judged_on = self.verify().get("environment", {})
        predictor = artifact.load(self.path, threads)
        if warning := other_cpu(judged_on, predictor.runtime.name):
            logger.warning("%s: %s", self.tag, warning)
        return predictor

    @property
    def created(self) -> str:
        """ISO 8601; empty where the model is damaged."""
        return _created(self.path)


def load(tag: str, threads: int | None = None) -> artifact.Loaded:
    """A stored model as a callable from a list of inputs to a list of answers.

    Args:
        tag: `name:version`, or `name` for the latest.
        threads: CPU cores to use; all by default.

    Raises:
        StoreError: no such model, or it is not as it was saved. Nothing was unpickled then.
    """
    return find(tag).load(threads)


def find(tag: str) -> StoredModel:
    """The stored model a tag names.

    Raises:
        StoreError: with the nearest names and what to run.
    """
    name, _, version = str(tag).lower().partition(":")
    folder = models_folder() / name
    versions = _versions(folder) if folder in models_folder().iterdir() else []  # `..` is no model
    if not versions:
        names = sorted({m.tag.partition(":")[0] for m in models()})
        known = f" (stored: {', '.join(names[:8])}{' ...' * (len(names) > 8)})" if names else " (the store is empty)"
        raise StoreError(
            f"no model {name!r} in the store{did_you_mean(name, names)}{known}. "
            "Save one with: python save_models.py configs/<recipe>.yaml"
        )
    if version in ("", "latest"):
        latest = folder / "latest"
        version = latest.read_text().strip() if latest.is_file() else ""
        if version not in versions:
            version = max(versions, key=lambda v: _created(folder / v))
    if version not in versions:
        raise StoreError(
            f"no version {version!r} of {name!r} in the store{did_you_mean(version, versions)} "
            f"(stored: {', '.join(versions[:8])})"
        )
    return StoredModel(f"{name}:{version}", folder / version)


def models(name: str | None = None) -> list[StoredModel]:
    """What is stored, by name, newest first within a name. Damaged models are listed too: they can be deleted."""
    folders = [p for p in sorted(models_folder().iterdir()) if p.is_dir() and (name is None or p.name == name)]
    return [
        StoredModel(f"{folder.name}:{version}", folder / version)
        for folder in folders
        for version in sorted(_versions(folder), key=lambda v: _created(folder / v), reverse=True)
    ]


def save(
    name: str, source: Path, content: dict[str, Any], labels: dict[str, str], metadata: dict[str, Any]
) -> StoredModel:
    """Stores an artifact folder, which stays where it is.

    Args:
        name: of the model; the version is the manifest's hash.
        source: the artifact folder.
        content: the manifest's variant, recipe and source.
        labels: BentoML's.
        metadata: BentoML's; values that are None are left out, BentoML refuses them.

    Raises:
        StoreError: no space, no permission, or another save holds the store for too long.
    """
    import bentoml
    from bentoml._internal.models import ModelStore

    raw, version = manifest.build(source, content)
    tag = f"{name}:{version}"
    final = models_folder() / name / version
    _need_space(source)
    with _reported(f"{tag} could not be stored"), _staging() as staging:
        (staging / "models").mkdir()
        kept = {key: value for key, value in metadata.items() if value is not None}
        private = ModelStore(staging / "models")
        with bentoml.models.create(tag, labels=labels, metadata=kept, _model_store=private) as model:
            shutil.copytree(source, model.path, dirs_exist_ok=True, copy_function=link_or_copy)
            Path(model.path_of(manifest.MANIFEST)).write_bytes(raw)
        with _locked():
            if final.exists():
                StoredModel(tag, final).verify()  # the same content is there already
            else:
                _publish(staging / "models" / name / version, final)
    return StoredModel(tag, final)


def delete(tag: str) -> str:
    """Removes one stored version and gives its full tag; damaged ones too.

    Raises:
        StoreError: no such model.
    """
    model = find(tag)
    folder = model.path.parent
    with _reported(f"{model.tag} could not be deleted"), _staging() as staging, _locked():
        (folder / "latest").unlink(missing_ok=True)
        model.path.rename(staging / "deleted")
        if rest := _versions(folder):
            _write_latest(folder, max(rest, key=lambda v: _created(folder / v)), staging)
        else:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return model.tag


def models_folder() -> Path:
    """BentoML's model store; `BENTOML_HOME` moves it."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    folder = Path(BentoMLContainer.model_store.get()._path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _publish(staged: Path, final: Path) -> None:
    """Between any two of these steps the store is whole: without `latest`, BentoML looks for the newest."""
    final.parent.mkdir(exist_ok=True)
    (final.parent / "latest").unlink(missing_ok=True)
    staged.rename(final)
    _write_latest(final.parent, final.name, staged.parent)


def _write_latest(folder: Path, version: str, staging: Path) -> None:
    staged = staging / "latest"
    staged.write_text(version)
    staged.replace(folder / "latest")


def _versions(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []


def _created(version: Path) -> str:
    """When a version was made, as BentoML wrote it (ISO 8601, so that it sorts); empty for a damaged one."""
    try:
        text = (version / manifest.BENTOML_FILE).read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^creation_time: *['\"]?([^'\"\n]+)", text, re.MULTILINE)
    return found.group(1) if found else ""


@contextlib.contextmanager
def _staging() -> Iterator[Path]:
    """A folder beside the store, so that a rename moves what is in it. A lock tells a live one from a dead one's."""
    root = _own_folder()
    for left in root.glob("staging-*"):
        _remove_if_dead(left)
    folder = root / f"staging-{uuid.uuid4().hex}"
    lock = FileLock(f"{folder}.lock")
    # Before the folder is there, so that nobody takes it for a dead one's. Another save may hold the lock for a moment
    # to see whether it can.
    with lock.acquire(timeout=LOCK_SECONDS):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)


def _remove_if_dead(left: Path) -> None:
    folder = left.with_suffix("") if left.suffix == ".lock" else left
    with contextlib.suppress(Timeout, OSError), FileLock(f"{folder}.lock").acquire(timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """A disk that is full or read-only as an error that says so."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{what}: {reason} ({error.filename or models_folder()})") from error


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    try:
        with FileLock(_own_folder() / "store.lock").acquire(timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise StoreError(
            f"another save has held the model store for {LOCK_SECONDS} s; wait for it to end and run again"
        ) from None


def _own_folder() -> Path:
    folder = models_folder().parent / ".quantbento"
    folder.mkdir(exist_ok=True)
    return folder


def _need_space(source: Path) -> None:
    """BentoML holds a second copy while it saves."""
    need = 2 * artifact.size_bytes(source)
    free = shutil.disk_usage(models_folder()).free
    if free < need:
        raise StoreError(
            f"storing {source.name} needs {need / 1e6:.0f} MB free in {models_folder()}, "
            f"which has {free / 1e6:.0f} MB. See what is stored: quantbento models"
        )
