"""How the model store is written to: staged in a folder beside it, and moved in under its lock with one rename.

Readers see all of a change or nothing, whatever happens to the writer. Readers need no lock and make no folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from quantbento.core.errors import StoreError

LOCK_SECONDS = 60


def models_path() -> Path:
    """The path of BentoML's model store, whether it exists yet or not; `BENTOML_HOME` moves it."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    return Path(BentoMLContainer.model_store.get()._path)


def own_path() -> Path:
    """The path of our folder beside the models, on the same file system. It may not exist."""
    return models_path().parent / ".quantbento"


@contextlib.contextmanager
def changing(what_failed: str) -> Iterator[Path]:
    """Holds the store's lock, and yields a folder to stage what will be moved in.

    Raises:
        StoreError: `what_failed` and why: no space, no permission, or the lock is held for too long.
    """
    with reported(what_failed), staged_folder() as staged, locked():
        yield staged


def write(path: Path, content: bytes, staged: Path) -> None:
    """Creates or replaces a file of the store in one step."""
    new = staged / path.name
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # or a power cut may leave the name without the content
    if path.exists():
        shutil.copymode(path, new)
    path.parent.mkdir(exist_ok=True)
    new.replace(path)


@contextlib.contextmanager
def staged_folder() -> Iterator[Path]:
    """A folder beside the store, so that a rename moves its content in. A lock shows that its process is alive."""
    root = _own_folder()
    for left in root.glob("staging-*"):
        _remove_if_dead(left)
    folder = root / f"staging-{uuid.uuid4().hex}"
    lock = FileLock(f"{folder}.lock")
    # Locked before the folder exists, so that nobody takes it for a dead process's folder. Another save may hold the
    # lock for a moment, to try whether it is free.
    with lock.acquire(timeout=LOCK_SECONDS):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One writer at a time."""
    try:
        with FileLock(_own_folder() / "store.lock").acquire(timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise StoreError(
            f"another save has held the model store for {LOCK_SECONDS} s; wait for it to end and run again"
        ) from None


@contextlib.contextmanager
def reported(what_failed: str) -> Iterator[None]:
    """Turns an `OSError`, such as a full or read-only disk, into an error that says so."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{what_failed}: {reason} ({error.filename or models_path()})") from error


def _own_folder() -> Path:
    own = own_path()
    own.mkdir(parents=True, exist_ok=True)
    return own


def _remove_if_dead(left: Path) -> None:
    folder = left.with_suffix("") if left.suffix == ".lock" else left
    with contextlib.suppress(Timeout, OSError), FileLock(f"{folder}.lock").acquire(timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.lock").unlink(missing_ok=True)
