"""API keys among the files that would be packed: whoever gets a Bento or its image could read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pathspec import PathSpec

from quantbento.packing.build_files import BuildFile
from quantbento.serving.key_file import holds_keys

MOST_BYTES = 1_000_000  # of a file that is read: a line with a key has a hundred
NOT_PACKED = {".git", ".venv", "venv", "__pycache__"}  # by BentoML, whatever a build file says


def problems(file: BuildFile) -> Iterator[str]:
    """A line for each file of the current folder that holds keys or their hashes, and would go along."""
    ignored = PathSpec.from_lines("gitwildmatch", _text(Path(".bentoignore")).splitlines())
    for parent, folders, names in os.walk("."):
        if "pyvenv.cfg" in names and parent != ".":  # an environment, of ten thousands of files
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in NOT_PACKED]
        for path in (Path(parent, name) for name in names):
            if file.packs(path) and not ignored.match_file(path) and holds_keys(_text(path)):
                yield (
                    f"{path} holds API keys, which would be packed. Move it out of this folder, or name it in "
                    "`exclude` of the build file; a service reads it where its setting api_keys_file says"
                )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= MOST_BYTES else ""
    except (OSError, UnicodeDecodeError):  # no text, so no keys
        return ""
