"""`quantbento new`: a project of the user's own, in the shape of this one, with a small model that runs."""

from __future__ import annotations

import keyword
import os
import re
import sys
from pathlib import Path

from quantbento import __version__
from quantbento.core.errors import QuantbentoError
from quantbento.core.machine import packages_distributions
from quantbento.recipe import TAG_LENGTH

TEMPLATE = Path(__file__).with_name("project_template")  # a text for each file; `.txt` comes after its name
MODULES = ("service", "save_models", "tests", "configs")  # of the new project
NAMES = {"gitignore": ".gitignore"}


def create(folder: Path) -> str:
    """Writes a project into a new or empty folder. Gives its name, which is the folder's.

    Raises:
        QuantbentoError: the folder is not empty, cannot be written, or its name is none for a Python package.
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    package = name.replace("-", "_")
    _check(folder, name, package)
    words = {"{{name}}": name, "{{package}}": package, "{{version}}": __version__}
    try:
        for template in sorted(TEMPLATE.rglob("*.txt")):
            path = folder / _place(template.relative_to(TEMPLATE).with_suffix(""), name, package)
            text = template.read_text(encoding="utf-8")
            for word, value in words.items():
                text = text.replace(word, value)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:  # never somebody else's
                file.write(text)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise QuantbentoError(f"{folder} could not be written: {reason}; name another folder") from error
    return name


def _place(path: Path, name: str, package: str) -> Path:
    if path.parts[0] == "package":
        return Path(package, *path.parts[1:])
    if path.stem == "recipe":
        return path.with_name(f"{name}{path.suffix}")
    return Path(NAMES.get(str(path), path))


def _check(folder: Path, name: str, package: str) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise QuantbentoError(f"{folder} is not empty, and nothing in it is changed; name a new folder")
    if folder.exists() and not folder.is_dir():
        raise QuantbentoError(f"{folder} is no folder; name a new one")
    another = "name another folder, for example my-models"
    if not package.isidentifier() or keyword.iskeyword(package) or len(name) > TAG_LENGTH // 2:
        raise QuantbentoError(
            f"{folder}: its name would make the Python package {package!r}, which has to start with a letter, be no "
            f"keyword and have at most {TAG_LENGTH // 2} characters; {another}"
        )
    if package in {*sys.stdlib_module_names, *MODULES, *packages_distributions()}:
        raise QuantbentoError(
            f"{folder}: a Python package {package!r} would hide another module of that name; {another}"
        )
