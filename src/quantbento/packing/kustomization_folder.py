"""The folder that `deploy render` or `deploy sweep` writes: copies of templates, and the files that it makes."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import yaml

from quantbento.core.errors import QuantbentoError, summary
from quantbento.core.project_files import TEMPLATES

MARK = "# Written by `quantbento deploy render`, which overwrites the whole folder"
HEADER = ".\n# Keep changes of yours in a kustomization elsewhere that has this folder among its resources.\n"


def write(folder: Path, templates: Path, parts: list[str], files: dict[str, Any], mark: str = MARK) -> None:
    """Writes it whole, in one step.

    Args:
        folder: replaced if it was written by this before.
        templates, parts: the folders in `templates` to copy.
        files: the files of the top folder by name, as data.
        mark: how the files start, by which a folder of the same command is known.

    Raises:
        QuantbentoError: a template is missing, the folder is somebody else's, or cannot be written.
    """
    check(templates, parts)
    _refuse_others(folder, templates, mark)
    staging = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}"
    try:
        staging.mkdir(parents=True)
        for part in parts:
            shutil.copytree(templates / part, staging / part)
        for name, content in files.items():
            text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)
            (staging / name).write_text(mark + HEADER + text, encoding="utf-8")
        _move(staging, folder)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else summary(error)
        raise QuantbentoError(f"{folder} could not be written: {reason}; name another folder with --output") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check(templates: Path, parts: list[str]) -> None:
    """Raises `QuantbentoError` where a folder of templates is missing."""
    if missing := [part for part in parts if not (templates / part / "kustomization.yaml").is_file()]:
        raise QuantbentoError(
            f"no templates {', '.join(missing)} in {templates}. quantbento has its own, for folders without {TEMPLATES}"
        )


def _refuse_others(folder: Path, templates: Path, mark: str) -> None:
    another = "name another folder with --output"
    if templates.resolve() in [folder.resolve(), *folder.resolve().parents]:
        raise QuantbentoError(f"{folder} is among the templates; {another}")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise QuantbentoError(f"{folder} is no folder; {another}")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    top = folder / "kustomization.yaml"
    if not top.is_file() or not top.read_text(encoding="utf-8", errors="replace").startswith(mark):
        command = " ".join(mark.split("`")[1].split())
        raise QuantbentoError(f"{folder} was not written by {command}, so it stays as it is; {another}")


def _move(staging: Path, folder: Path) -> None:
    before = staging.with_name(f"{staging.name}-before")
    if folder.exists():
        folder.rename(before)
    try:
        staging.rename(folder)
    except OSError:
        if before.exists():
            before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)


class _Dumper(yaml.SafeDumper):
    """Quotes what starts like a number: a version such as 12e4 is one for Kubernetes' YAML, not for Python's."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else '"' if re.match(r"[\d.+-]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
