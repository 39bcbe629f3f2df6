"""Which files of the current folder a Python file imports, so that they go along into a Bento."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from quantbento.core.errors import QuantbentoError

ROOTS = (Path(), Path("src"))  # where modules of a project are, relative to the current folder


def with_imported(files: Iterable[Path]) -> list[Path]:
    """The files, and those of the current folder that they import, also inside functions; relative, sorted.

    Raises:
        QuantbentoError: one of them is no Python.
    """
    found: set[Path] = set()
    new = list(files)
    while new:
        file = new.pop()
        if file not in found:
            found.add(file)
            new += [path for module in _imported(file) for path in _files(module)]
    return sorted(found)


def _imported(file: Path) -> Iterator[str]:
    """Modules by their dotted names. What is imported from a package may be a module of it."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise QuantbentoError(f"{file} is no Python: {error}") from None
    package = file.relative_to("src") if file.is_relative_to("src") else file
    parts = package.parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(parts[: len(parts) - node.level + 1]) if node.level else []
            base += [node.module] if node.module else []
            yield from (".".join(path) for path in (base, *([*base, alias.name] for alias in node.names)) if path)


def _files(module: str) -> Iterator[Path]:
    """The module's file and those of the packages that it is in; none where it is not of the current folder."""
    parts = module.split(".")
    if parts[0] == "quantbento":
        return
    for root in ROOTS:
        for end in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:end])
            yield from (path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file())
