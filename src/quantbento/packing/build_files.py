"""Build files of Bentos: `configs/bentos/NAME.yaml`, or any file in the format of `bentofile.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pathspec import PathSpec

from quantbento.core import project_files
from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.core.project_files import BUILD_FILES as FOLDER
from quantbento.recipe.document import Document

DEFAULT = Path("bentofile.yaml")


@dataclass(frozen=True)
class BuildFile:
    """A build file; paths in it start at the current folder, which is what `bentoml build` packs.

    Attributes:
        path: of the file.
        data: what it says.
        supplied: by its path, what the current folder does not have: a file or folder elsewhere, or a file's text.
    """

    path: Path
    data: dict[str, Any]
    supplied: dict[Path, Path | str] = field(default_factory=dict)

    @property
    def model(self) -> str | None:
        """The tag it packs; None where that is the service's default."""
        return (self.data.get("args") or {}).get("model")

    @property
    def task(self) -> str | None:
        """What its service is for, by its label; None where it does not say."""
        return (self.data.get("labels") or {}).get("task")

    @property
    def runtime(self) -> str | None:
        """What its packages are for, by its label; None where it does not say."""
        return (self.data.get("labels") or {}).get("runtime")

    @property
    def packages(self) -> dict[str, str]:
        """Pinned versions by name. Entries that are not pinned have the rest of their line instead."""
        python = self.data.get("python") or {}
        lines = list(python.get("packages") or [])
        if name := python.get("requirements_txt"):
            file = self.supplied.get(Path(name), Path(name))
            if isinstance(file, str):
                lines += file.splitlines()
            elif file.is_file():
                lines += file.read_text(encoding="utf-8").splitlines()
        return pinned(lines)

    def packs(self, path: Path) -> bool:
        """Whether a file of the current folder becomes a part of the Bento; BentoML packs everything by default."""
        included, excluded = self._patterns
        return included.match_file(path) and not excluded.match_file(path)

    @cached_property
    def _patterns(self) -> tuple[PathSpec, PathSpec]:
        """Of what is included, and of what of it is not; every file of a folder is compared with them."""
        given = (self.data.get("include") or ["*"], self.data.get("exclude") or [])
        included, excluded = (PathSpec.from_lines("gitwildmatch", lines) for lines in given)
        return included, excluded


def find(name: str | None) -> BuildFile:
    """The build file of a name in `configs/bentos`, of a path, or `bentofile.yaml` where there is none: the current
    folder's, else quantbento's own.

    Raises:
        QuantbentoError: there is no such file, or it is no mapping.
    """
    found = look_up(name) or look_up(name, project_files.folder())
    if found is None:
        raise QuantbentoError(
            f"no build file {name!r}{did_you_mean(name or '', known())} (allowed: {one_of(known())}, which are files "
            f"in {FOLDER}, or the path of a build file)"
        )
    return found


def look_up(name: str | None, place: Path = Path()) -> BuildFile | None:
    """The same in one folder; None where it is not there."""
    for path in (DEFAULT,) if name is None else (FOLDER / f"{name}.yaml", Path(name)):
        if (file := place / path).is_file():
            return BuildFile(path, Document.of(file).data, {} if place == Path() else {path: file})
    return None


def known() -> list[str]:
    """The names of build files."""
    places = (Path(), project_files.folder())
    return sorted({path.stem for place in places for path in (place / FOLDER).glob("*.yaml")})


def pinned(lines: list[str]) -> dict[str, str]:
    """Of `requirements.txt`: the version by name, names in their normal form (PEP 503), without markers."""
    found = {}
    for line in lines:
        if match := re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*(.*?)\s*(?:[;#].*)?$", line):
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            found[name] = match[2][2:].strip() if match[2].startswith("==") else match[2]
    return found


def command_that_saves(model: str) -> str:
    """`python save_models.py configs/minilm.yaml` for the name of a variant that a recipe in `configs` makes."""
    name = model.partition(":")[0]
    for path in sorted(Path("configs").glob("*.yaml"), key=lambda path: (len(path.name), path)):  # the plainest name
        try:
            recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
            if name in {f"{recipe['name']}-{variant['name']}" for variant in recipe["variants"]}:
                return f"python save_models.py {path}"
        except (yaml.YAMLError, OSError, KeyError, TypeError):  # a file of another kind
            continue
    return "python save_models.py configs/<recipe>.yaml"
