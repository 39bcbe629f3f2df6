"""`manifest.json`: what a stored model is, how it was judged, and the sha256 of every file beside it.

A stored version is the first 16 hex digits of the manifest's own sha256, so a changed manifest no longer matches its
tag. Everything is checked before a byte of the artifact is deserialized.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from quantbento.core.errors import StoreError

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # made after the manifest, over it; see quantbento.store.signing
BENTOML_FILE = "model.yaml"  # written by BentoML after the manifest; read as plain YAML, never deserialized
SCHEMA_VERSION = 1
DIGITS = 16


def build(folder: Path, content: dict[str, Any]) -> tuple[bytes, str]:
    """The manifest of a finished artifact folder, and the version that follows from it.

    `content` holds the variant's row of the report, the recipe and the source's identity.
    """
    manifest = {"schema_version": SCHEMA_VERSION, **content, "files": hash_files(folder)}
    raw = json.dumps(manifest, indent=2, sort_keys=True).encode()
    return raw, version_of(raw)


def version_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:DIGITS]


def digest(folder: Path, tag: str) -> str:
    """`sha256:` and the full hash, whose first digits are the version. It covers every file beside the manifest.

    Raises:
        StoreError: as in `read`.
    """
    read(folder, tag)
    return f"sha256:{hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()}"


def read(folder: Path, tag: str) -> dict[str, Any]:
    """The manifest. Its own hash and schema are checked, the files are not.

    Raises:
        StoreError: it is missing, was changed, or comes from a newer quantbento.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise StoreError(
            f"{tag} has no {MANIFEST}: it was not saved by quantbento, or its files were removed. "
            f"See what is stored: quantbento models"
        ) from None
    try:
        manifest = json.loads(raw)
        schema = int(manifest["schema_version"])
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{tag}: {MANIFEST} is damaged. {_advice(tag)}") from None
    if schema > SCHEMA_VERSION:
        raise StoreError(
            f"{tag}: its manifest has schema_version {schema}, this quantbento reads up to {SCHEMA_VERSION}; "
            "it was saved by a newer one. Run: pip install --upgrade quantbento"
        )
    if version_of(raw) != tag.partition(":")[2]:
        raise StoreError(f"{tag}: {MANIFEST} was changed after it was saved. {_advice(tag)}")
    return manifest


def verify(folder: Path, tag: str) -> dict[str, Any]:
    """The manifest, after every file was hashed.

    Raises:
        StoreError: lists every file that was changed, removed or added.
    """
    manifest = read(folder, tag)
    expected, found = manifest["files"], hash_files(folder)
    problems = [f"{path} was changed" for path in sorted(expected.keys() & found) if expected[path] != found[path]]
    problems += [f"{path} was removed" for path in sorted(expected.keys() - found.keys())]
    problems += [f"{path} was added" for path in sorted(found.keys() - expected.keys())]
    if problems:
        raise StoreError(f"{tag} is not as it was saved and will not be loaded: {'; '.join(problems)}. {_advice(tag)}")
    return manifest


def hash_files(folder: Path) -> dict[str, str]:
    """The sha256 of every file but the manifest, its signature and BentoML's own, by path. For a link its target path
    counts, not the target's content, so that a link put in a file's place is noticed."""
    hashes = {}
    for parent, folders, names in os.walk(folder):
        links = [n for n in folders if (Path(parent) / n).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if relative in (MANIFEST, SIGNATURE, BENTOML_FILE):
                continue
            if path.is_symlink():
                hashes[relative] = f"link to {path.readlink()}"
                continue
            with path.open("rb") as file:
                hashes[relative] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _advice(tag: str) -> str:
    return f"Remove it with: quantbento delete {tag}"
