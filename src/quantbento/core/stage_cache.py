"""Finished stages of a run, kept by content, so that an interrupted run redoes only what was missing.

    <folder>/<key>/entry.json   {schema_version, key, stage, data, files: {path: sha256}}
    <folder>/<key>/entry.mac    HMAC-SHA256 of entry.json, by the user's own key (`quantbento.core.user_key`)
    <folder>/<key>/<part>/...   files

The key is the hash of everything that a stage depends on. Entries are written beside their place and moved in, and
verified before use: the files of some are pickles, and a folder that came from elsewhere must not run code. What
another user or machine wrote is not used. The least recently used entries go first when the folder is full.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.core.files import WEIGHTS, link_or_copy
from quantbento.core.user_key import user_key

SCHEMA_VERSION = 1
ENTRY, MAC, LOCK = "entry.json", "entry.mac", "lock"
LOCK_SECONDS = 600  # another run may be copying a large model
LIMIT = "QUANTBENTO_CACHE_GB"
LIMIT_GB = 20.0


def limit_bytes() -> int:
    """The most bytes of all entries together: `QUANTBENTO_CACHE_GB`, in 10^9 bytes; 0 keeps and uses nothing.

    Raises:
        QuantbentoError: it is no number.
    """
    told = os.environ.get(LIMIT) or str(LIMIT_GB)
    with contextlib.suppress(ValueError):
        if (limit := float(told)) >= 0:
            return int(limit * 1e9)
    raise QuantbentoError(f"{LIMIT}={told!r} is no number of gigabytes; {LIMIT}=0 keeps nothing between runs")


def _silent(text: str) -> None:
    pass


@dataclass
class StageCache:
    """The finished stages of runs.

    Attributes:
        folder: where they are; None keeps and finds nothing.
        common: what every stage of this run depends on, as JSON.
        limit: the most bytes of all entries together.
        anew: find nothing, and replace what is there.
        say: shows one line to a person.
    """

    folder: Path | None = None
    common: dict[str, Any] = field(default_factory=dict)
    limit: int = 0
    anew: bool = False
    say: Callable[[str], None] = _silent

    def restore(self, stage: str, depends: dict[str, Any], parts: dict[str, Path] | None = None) -> Any:
        """What `keep` was given as `data` for the same stage with the same dependencies, or None where there is no such
        entry, or a damaged one.

        Args:
            stage: its kind, the same as for `keep`.
            depends: what it depends on beside `common`, as JSON.
            parts: where the kept folders are copied to, by name. Nothing is left there where there is no entry.
        """
        if self.folder is None or self.anew:
            return None
        place = self.folder / self.key(stage, depends)
        if not place.is_dir():
            return None
        try:
            entry = _read(place)
            for part, target in (parts or {}).items():
                _copy_out(place, part, target, entry["files"])
            os.utime(place / ENTRY)  # it was used now
        except (OSError, ValueError) as error:
            self.say(f"{stage}: what an earlier run kept is not used: {error}")
            shutil.rmtree(place, ignore_errors=True)
            for target in (parts or {}).values():
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir(parents=True)
            return None
        return entry["data"]

    def keep(self, stage: str, depends: dict[str, Any], data: Any, parts: dict[str, Path] | None = None) -> None:
        """Keeps a finished stage: its data, as JSON, and the files of folders, by name. Where that fails, the run goes
        on, and a line says why."""
        from filelock import FileLock, Timeout

        if self.folder is None:
            return
        key = self.key(stage, depends)
        place = self.folder / key
        try:
            secret = user_key()
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / LOCK).acquire(timeout=LOCK_SECONDS):
                for left in self.folder.glob("staging-*"):
                    shutil.rmtree(left, ignore_errors=True)  # of a process that died: writers hold the lock
                if place.is_dir() and not self.anew and _is_sound(place):
                    return
                staged = self.folder / f"staging-{uuid.uuid4().hex}"
                staged.mkdir()
                try:
                    content = {"schema_version": SCHEMA_VERSION, "key": key, "stage": stage, "data": data}
                    content["files"] = {k: v for part in (parts or {}).items() for k, v in _copy_in(staged, *part)}
                    raw = json.dumps(content).encode()
                    (staged / ENTRY).write_bytes(raw)
                    (staged / MAC).write_bytes(hmac.digest(secret, raw, "sha256"))
                    if self._make_room(_bytes(staged), besides=place):
                        shutil.rmtree(place, ignore_errors=True)
                        staged.rename(place)
                    else:
                        self.say(f"{stage}: not kept for a resumed run: it is larger than {LIMIT} allows")
                finally:
                    shutil.rmtree(staged, ignore_errors=True)
        except (OSError, Timeout) as error:
            self.say(f"{stage}: not kept for a resumed run: {error}")

    def key(self, stage: str, depends: dict[str, Any]) -> str:
        """32 hex digits."""
        parts = json.dumps({"common": self.common, "stage": stage, "depends": depends}, sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:32]

    def _make_room(self, size: int, besides: Path) -> bool:
        """Removes the least recently used entries until `size` bytes fit. False where they never do."""
        assert self.folder is not None
        if size > self.limit:
            return False
        entries = [p for p in self.folder.iterdir() if (p / ENTRY).is_file() and p.name[:8] != "staging-"]
        entries = sorted((p for p in entries if p != besides), key=lambda p: (p / ENTRY).stat().st_mtime_ns)
        sizes = {p: _bytes(p) for p in entries}
        total = size + sum(sizes.values())
        for entry in entries:
            if total <= self.limit:
                break
            shutil.rmtree(entry, ignore_errors=True)
            total -= sizes[entry]
        return True


def _read(place: Path) -> dict[str, Any]:
    """The entry of a folder.

    Raises:
        ValueError: this user did not write it, it was changed, or a newer quantbento wrote it.
    """
    raw, mac = (place / ENTRY).read_bytes(), (place / MAC).read_bytes()
    if not hmac.compare_digest(mac, hmac.digest(user_key(), raw, "sha256")):
        raise ValueError(f"{place} was changed, or written by another user")
    entry = json.loads(raw)
    if (entry["schema_version"], entry["key"]) != (SCHEMA_VERSION, place.name):
        raise ValueError(f"{place} is not what its name says")
    return entry


def _is_sound(place: Path) -> bool:
    """Whether an entry is complete: its own hash and its files' names; their content is verified when they are used."""
    try:
        return all((place / name).is_file() for name in _read(place)["files"])
    except (OSError, ValueError):
        return False


def _copy_in(place: Path, part: str, source: Path) -> list[tuple[str, str]]:
    """Copies a folder's files into an entry, and returns their paths in it with their sha256."""
    hashes = []
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        name = f"{part}/{path.relative_to(source).as_posix()}"
        _put(path.resolve(), place / name)
        hashes.append((name, _sha256(place / name)))
    return hashes


def _copy_out(place: Path, part: str, target: Path, hashes: dict[str, str]) -> None:
    """Copies an entry's files of a part, and verifies the copies: those are what will be used.

    Raises:
        ValueError: a file was changed.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name, expected in hashes.items():
        if name.startswith(f"{part}/"):
            copy = target / name.removeprefix(f"{part}/")
            _put(place / name, copy)
            if _sha256(copy) != expected:
                raise ValueError(f"{place / name} was changed")


def _put(source: Path, target: Path) -> None:
    """Weights as a link, since nobody writes to them; all else as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix in WEIGHTS:
        link_or_copy(source, target)
    else:
        shutil.copyfile(source, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
