"""Model folders on this machine: where they are, and the hash that identifies them."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from quantbento.core.errors import QuantbentoError
from quantbento.recipe import ModelSpec

SMALL_FILES = ("*.json", "*.txt", "*.model", "*.py", "*.jinja")
FILES = ("*.safetensors", "*.bin", *SMALL_FILES)


def local_folder(spec: ModelSpec) -> Path:
    """The folder of a model named by `path` or `package`.

    Raises:
        QuantbentoError: it does not exist.
    """
    if spec.path:
        folder = spec.path / spec.subfolder
    else:
        assert spec.package is not None
        try:
            distribution = importlib.metadata.distribution(spec.package)
        except importlib.metadata.PackageNotFoundError:
            raise QuantbentoError(
                f"the package {spec.package!r} is not installed; run: pip install {spec.package}"
            ) from None
        tops = dict.fromkeys(f.parts[0] for f in distribution.files or () if f.name == "__init__.py")
        folders = [Path(str(distribution.locate_file(top))) / spec.subfolder for top in tops]
        if not folders:
            raise QuantbentoError(
                f"the package {spec.package!r} brings no folder (it is one file, or installed as editable); use `path:`"
            )
        folder = next((f for f in folders if f.is_dir()), folders[0])
    if not folder.is_dir():
        raise QuantbentoError(f"no such folder: {folder}")
    return folder


def hash_folder(folder: Path) -> str:
    """One sha256 of a model's files with their names."""
    return hash_files(sorted({p for pattern in FILES for p in folder.rglob(pattern)}), folder)


def hash_files(files: list[Path], base: Path | None = None) -> str:
    """One sha256 of all files with their names."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(base) if base else path.name} {digest}\n".encode())
    return total.hexdigest()
