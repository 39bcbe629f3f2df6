"""Puts the same files in two places, without storing their bytes twice where the file system allows it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

WEIGHTS = (".safetensors", ".bin")


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A hard link, or a copy where source and target are on different file systems."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        shutil.copy2(source, target)


def link_checkpoint(source: Path, target: Path) -> None:
    """Puts a checkpoint's files into an existing folder: weights as links, small files as copies, because others may
    write to those."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(source).parts):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in WEIGHTS:
                link_or_copy(path.resolve(), place)
            else:
                shutil.copyfile(path, place)
