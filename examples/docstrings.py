"""A text-classification task from data that every Python has: which part of the standard library is a docstring from?

1. the docstrings of the parts' modules, as their source files hold them, cut to their beginning
2. a class with all its methods, or a function, is trained on or held out as a whole
3. a held-out docstring that is nearly the same as one that is trained on is left out

Which docstrings there are depends on the version of Python; nothing else does.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PARTS = {
    "concurrency": "asyncio concurrent multiprocessing queue sched selectors signal subprocess threading",
    "files": "_compression _pyio bz2 filecmp fileinput fnmatch genericpath glob gzip lzma ntpath os pathlib posixpath "
    "shutil tarfile tempfile zipapp zipfile",
    "internet": "base64 email ftplib http imaplib ipaddress mailbox mimetypes poplib quopri smtplib socket "
    "socketserver ssl urllib webbrowser wsgiref xmlrpc",
    "numbers and dates": "_pydatetime _pydecimal _strptime calendar colorsys datetime fractions heapq numbers random "
    "statistics zoneinfo",
    "testing": "bdb cProfile doctest pdb profile pstats timeit trace traceback tracemalloc unittest",
}
LABELS = list(PARTS)
SHORTEST, LONGEST = 6, 48  # words
HELD_OUT = 750  # docstrings, before those that are too much alike are left out
TOO_MUCH_ALIKE = 0.6  # words that two docstrings share, over the words of both


class Docstring(NamedTuple):
    text: str
    label: str
    definition: str  # the module, and the class or function at its top level, which it belongs to


def training() -> tuple[list[str], list[str]]:
    """Texts, and which of `LABELS` each belongs to; the same ones every time."""
    return _split()[0]


def held_out() -> tuple[list[str], list[str]]:
    """The same of docstrings that are not trained on."""
    return _split()[1]


@cache
def _split() -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    by_definition: dict[str, list[Docstring]] = {}
    for docstring in _docstrings():
        by_definition.setdefault(docstring.definition, []).append(docstring)
    trained_on: list[Docstring] = []
    unseen: list[Docstring] = []
    for definition in sorted(by_definition, key=_hash):
        (unseen if len(unseen) < HELD_OUT else trained_on).extend(by_definition[definition])
    trained_on.sort(key=lambda docstring: _hash(docstring.text))
    unseen = _unlike(sorted(unseen, key=lambda docstring: _hash(docstring.text)), trained_on)
    return _columns(trained_on), _columns(unseen)


def _docstrings() -> list[Docstring]:
    """No two with the same text."""
    library = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Docstring] = {}
    for label, modules in PARTS.items():
        for module in modules.split():
            for path in sorted([library / f"{module}.py", *(library / module).rglob("*.py")]):
                name = path.relative_to(library)
                if path.is_file() and {"test", "tests"}.isdisjoint(name.parts):
                    for definition, text in _texts(ast.parse(path.read_bytes())):
                        found.setdefault(text.lower(), Docstring(text, label, f"{name.as_posix()}:{definition}"))
    return list(found.values())


def _texts(node: ast.AST, definition: str = "") -> Iterator[tuple[str, str]]:
    """Pairs of the outermost class or function around a docstring, and its first words."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        if not isinstance(node, ast.Module):
            definition = definition or node.name
        words = (ast.get_docstring(node) or "").split()
        if len(words) >= SHORTEST:
            yield definition, " ".join(words[:LONGEST])
    for child in ast.iter_child_nodes(node):
        yield from _texts(child, definition)


def _unlike(docstrings: list[Docstring], others: list[Docstring]) -> list[Docstring]:
    """Those whose words are not nearly the same as the words of one of the others (Jaccard similarity)."""
    theirs = [_words(other.text) for other in others]

    def alike(words: frozenset[str]) -> bool:
        least, most = TOO_MUCH_ALIKE * len(words), len(words) / TOO_MUCH_ALIKE  # of more or fewer, too few are shared
        near = (other for other in theirs if least <= len(other) <= most)
        return any(len(words & other) >= TOO_MUCH_ALIKE * len(words | other) for other in near)

    return [docstring for docstring in docstrings if not alike(_words(docstring.text))]


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _columns(docstrings: list[Docstring]) -> tuple[list[str], list[str]]:
    return [docstring.text for docstring in docstrings], [docstring.label for docstring in docstrings]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
