"""A file of API keys: one `name:sha256` per line, of which only the hash is kept. Comments start with `#`.

The hash is a plain SHA-256. Slow hashes (scrypt, bcrypt) protect passwords, which can be guessed. A key made here is
32 random bytes: nobody tries 2**256 of them, and a slow hash would cost its time on every request.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of

PREFIX = "qb-"  # scanners for secrets find keys by it
KEY_BYTES = 32
MODE = 0o600
LOCK_SECONDS = 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern}):([0-9a-fA-F]{{64}})")
_KEY = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}(?![A-Za-z0-9_-])")
NAMES = "names of 1 to 64 letters, digits, '.', '_' and '-', with a letter or a digit first"


class KeyFileError(QuantbentoError):
    """A file of API keys cannot be read or written, or a line of it is wrong. The message holds no line's text, which
    might be a key."""


def read(path: Path) -> dict[str, bytes]:
    """The hashes of a file by the names of their keys; none where it holds only comments.

    Raises:
        KeyFileError: it cannot be read, or lists every line that is wrong.
    """
    return _parsed(_text(path), path)


def check(path: Path) -> None:
    """Raises `KeyFileError` where a service cannot start with the file: as `read`, or there is no key in it."""
    if not read(path):
        raise KeyFileError(f"{path.absolute()} has no API key; add one with: quantbento keys add FILE NAME")


def digest_of(key: bytes) -> bytes:
    """What a file keeps of a key, 32 bytes."""
    return hashlib.sha256(key).digest()


def add(path: Path, name: str) -> str:
    """Makes a key, adds its hash to the file, which may not be there yet, and gives the key.

    Raises:
        KeyFileError: the name is taken or not allowed, or the file cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} cannot name a key; allowed are {NAMES}")
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)

    def added(text: str) -> str:
        if name in _parsed(text, path):
            raise KeyFileError(
                f"{path} has a key {name!r}. Choose another name, or run first: quantbento keys remove {path} {name}"
            )
        before = text if not text or text.endswith("\n") else text + "\n"
        return f"{before}{name}:{digest_of(key.encode()).hex()}\n"

    _change(path, added, new=True)
    return key


def remove(path: Path, name: str) -> None:
    """Removes a key's line; all others stay as they are.

    Raises:
        KeyFileError: there is no such key, or the file cannot be used.
    """

    def removed(text: str) -> str:
        if name not in (names := _parsed(text, path)):
            raise KeyFileError(f"{path} has no key {name!r}{did_you_mean(name, names)} (there: {one_of(names)})")
        return "".join(line for line in text.splitlines(keepends=True) if line.strip().partition(":")[0] != name)

    _change(path, removed)


def holds_keys(text: str) -> bool:
    """Whether a text is a file of keys, whole or damaged, or holds a key itself."""
    matches = (_LINE.fullmatch(line) for _, line in _entries(text))
    # A list of digests of files may have lines that start so.
    return bool(_KEY.search(text)) or any(m and m[1] not in hashlib.algorithms_available for m in matches)


def _parsed(text: str, path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    problems = []
    for number, line in _entries(text):
        if (match := _LINE.fullmatch(line)) is None:
            problems.append(f"line {number} is not NAME:SHA256, with 64 hexadecimal digits, and {NAMES}")
            continue
        name, digest = match[1], bytes.fromhex(match[2])
        if name in found:
            problems.append(f"line {number}: the name {name!r} is there twice")
        elif digest in found.values():
            problems.append(f"line {number}: {name!r} has the key of another name")
        found.setdefault(name, digest)
    if problems:
        told = "\n".join(["wrong lines:", *(f"  - {p}" for p in problems)])
        raise KeyFileError(f"{path}, a file of API keys, has {told}\nMake lines with: quantbento keys add FILE NAME")
    return found


def _entries(text: str) -> list[tuple[int, str]]:
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        told = (error.strerror or str(error)).lower()
        raise KeyFileError(f"{path.absolute()}, a file of API keys, cannot be read: {told}") from None
    except UnicodeDecodeError:
        raise KeyFileError(f"{path.absolute()} is no file of API keys: it is not text in UTF-8") from None


def _change(path: Path, changed: Callable[[str], str], new: bool = False) -> None:
    """Puts the changed file in the place of the one that is there: a service that reads it meanwhile sees one of them
    whole."""
    path = path.resolve()  # of a link, what it points to is replaced
    if not path.parent.is_dir():
        raise KeyFileError(f"{path} cannot be written: there is no folder {path.parent}")
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), LOCK_SECONDS):
            _write(path, changed("" if new and not path.exists() else _text(path)))
    except Timeout:
        raise KeyFileError(f"{path} is being changed by another process; try again") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # for its owner only
    staged = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.chmod(MODE)
        with contextlib.suppress(OSError):  # root may change a file of the service's user, and leaves it to that one
            before = path.stat()
            os.chown(staged, before.st_uid, before.st_gid)
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
