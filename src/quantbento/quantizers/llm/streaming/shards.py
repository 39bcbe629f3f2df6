"""The finished shards of a checkpoint that is being written, so that a run that was killed goes on after the last one.

    <folder>/model-00001-of-00030.safetensors
    <folder>/model-00001-of-00030.json          {sha256, peak_memory_bytes, mac}

A shard is written beside its place and moved in; its record follows. It is trusted when its bytes have the recorded
hash, and the record was written by this user's key (`quantbento.core.user_key`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path

from quantbento.core.machine import peak_memory_bytes
from quantbento.core.user_key import user_key

Write = Callable[[Path], None]


class Shards:
    """
    Args:
        folder: where they are.
        key: what they were made from, as text; shards of another key are made anew.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        folder.mkdir(parents=True, exist_ok=True)

    def finished(self, name: str) -> int | None:
        """The peak of memory of the process that wrote the shard, in bytes; None unless the shard is complete and as it
        was written. Reads it whole."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
            digest, peak = record["sha256"], int(record["peak_memory_bytes"])
            if hmac.compare_digest(record["mac"], self._mac(name, digest, peak)):
                return peak if _sha256(self.folder / name) == digest else None
        return None

    def finish(self, name: str, write: Write) -> None:
        """Makes the shard by `write`, which gets the path to write to."""
        staged = self.folder / f"{name}.part"
        self._record(name).unlink(missing_ok=True)
        write(staged)
        digest = _sha256(staged)
        staged.rename(self.folder / name)
        record = self.folder / f"{name}.record"
        peak = peak_memory_bytes()
        told = {"sha256": digest, "peak_memory_bytes": peak, "mac": self._mac(name, digest, peak)}
        record.write_text(json.dumps(told), encoding="utf-8")
        record.replace(self._record(name))

    def _record(self, name: str) -> Path:
        return (self.folder / name).with_suffix(".json")

    def _mac(self, name: str, digest: str, peak: int) -> str:
        return hmac.new(user_key(), f"{self.key} {name} {digest} {peak}".encode(), hashlib.sha256).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
