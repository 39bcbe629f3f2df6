"""The folder that `bentoml build` packs: the current one, or a copy of what a build file includes of it, completed by
what the current folder lacks: `service.py`, a list of packages, the library's source."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from quantbento.core import project_files
from quantbento.core.files import link_or_copy
from quantbento.core.project_files import CARRIED, LIBRARY, PACKED, SERVICE
from quantbento.packing.build_files import BuildFile

NOT_CODE = ("__pycache__", "node_modules")


def completed(file: BuildFile) -> BuildFile:
    """The build file with what the current folder lacks of what it names."""
    supplied = dict(file.supplied)
    python = file.data.get("python") or {}
    named = [python.get("requirements_txt"), SERVICE if _module(file) == SERVICE.stem else None]
    for path in (Path(name) for name in named if name):
        if path not in supplied and not path.exists() and (own := project_files.find(path)).is_file():
            supplied[path] = own
    library = Path("src" if python.get("is_src_layout") else "", LIBRARY.name)
    if not library.is_dir() and LIBRARY.name not in file.packages:
        supplied[library] = LIBRARY
    return replace(file, supplied=supplied)


@contextlib.contextmanager
def build_folder(file: BuildFile) -> Iterator[tuple[Path, Path]]:
    """The folder to build in, and the build file's path there. Where all is here, that is the current folder."""
    if not file.supplied:
        yield Path(), file.path
        return
    with tempfile.TemporaryDirectory(prefix="quantbento-build-") as name:
        folder = Path(name)
        for path in _here(file):
            _put(path, folder / path)
        for path, source in file.supplied.items():
            if not path.is_absolute():
                _put(source, folder / path)
        path = Path(file.path.name) if file.path.is_absolute() else file.path
        _put(yaml.safe_dump(_including_library(file), sort_keys=False), folder / path)
        yield folder, path


def _module(file: BuildFile) -> str:
    return str(file.data.get("service") or SERVICE.stem).partition(":")[0]


def _here(file: BuildFile) -> Iterator[Path]:
    """Files of the current folder: those that are included, and those that the build file names."""
    for parent, folders, names in os.walk("."):
        folders[:] = [name for name in folders if _may_hold_code(Path(parent, name))]
        for path in (Path(parent, name) for name in names):
            if path not in file.supplied and file.packs(path):
                yield path
    named = (Path(text) for text in _texts(file.data) if len(text) < 256 and "\n" not in text)
    yield from (path for path in {*named, Path(".bentoignore")} if not path.is_absolute() and path.is_file())


def _may_hold_code(folder: Path) -> bool:
    return not (folder.name.startswith(".") or folder.name in NOT_CODE or (folder / "pyvenv.cfg").exists())


def _texts(value: Any) -> Iterator[str]:
    """Every text in a build file, the paths of a setup script and of a list of packages among them."""
    if isinstance(value, str):
        yield value.removeprefix("file:").strip()
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _texts(member)


def _including_library(file: BuildFile) -> dict[str, Any]:
    """What the build file says; its `include` has the supplied library too."""
    include = list(file.data.get("include") or [])
    for path, source in file.supplied.items():
        if source == LIBRARY and include and not file.packs(path / "errors.py"):
            include += [f"{path}/{pattern}" for pattern in PACKED]
    return {**file.data, **({"include": include} if include else {})}


def _put(source: Path | str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, str):
        target.write_text(source, encoding="utf-8")
    elif source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", CARRIED.name) if source == LIBRARY else None
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    elif not target.exists():
        link_or_copy(source, target)
