"""Checks of an artifact's files that no runtime loads here: each can be read as what its name says it is. Nothing of
them is run, not even the pickles."""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from quantbento.core.errors import QuantbentoError, summary


def check(folder: Path) -> dict[str, Any]:
    """The row's `checked` of an artifact: how many files there are, and how many of them were parsed.

    Raises:
        QuantbentoError: lists the files that are empty or cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    problems, parsed = [], 0
    for path in files:
        name = path.relative_to(folder).as_posix()
        if not path.stat().st_size:
            problems.append(f"{name} is empty")
        elif parse := PARSERS.get(path.suffix):
            try:
                parse(path)
                parsed += 1
            except Exception as error:  # each parser has errors of its own
                problems.append(f"{name} cannot be read: {summary(error)}")
    if problems:
        told = "\n".join(f"  - {problem}" for problem in problems)
        raise QuantbentoError(f"the artifact that was written is not right:\n{told}")
    return {"files": len(files), "parsed": parsed, "notes": ["its values were not compared with the source's"]}


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _onnx(path: Path) -> None:
    import onnx

    onnx.checker.check_model(str(path))  # by its path, because larger ones have their weights beside them


def _gguf(path: Path) -> None:
    from gguf import GGUFReader

    if not GGUFReader(path).tensors:
        raise ValueError("it has no tensors")


def _safetensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        if not list(file.keys()):
            raise ValueError("it has no tensors")


def _pickle(path: Path) -> None:
    """Reads a pickle to its end without doing what it says; torch.save writes a zip file instead."""
    if zipfile.is_zipfile(path):
        return _zip(path)
    with path.open("rb") as file:
        for _ in pickletools.genops(file):
            pass
    return None


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise ValueError(f"{damaged} in it is damaged")


def _xml(path: Path) -> None:
    ElementTree.parse(path)


def _flatbuffer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise ValueError("it is no TensorFlow Lite file")


PARSERS: dict[str, Callable[[Path], None]] = {
    ".json": _json,
    ".onnx": _onnx,
    ".gguf": _gguf,
    ".safetensors": _safetensors,
    ".pkl": _pickle,
    ".pt": _zip,
    ".pt2": _zip,
    ".tflite": _flatbuffer,
    ".xml": _xml,
}
