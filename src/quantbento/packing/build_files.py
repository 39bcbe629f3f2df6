"""Build files of Bentos: `configs/bentos/NAME.yaml`, or any file in the format of `bentofile.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pathspec import PathSpec

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.recipe.document import Document

FOLDER = Path("configs/bentos")
DEFAULT = Path("bentofile.yaml")


@dataclass(frozen=True)
class BuildFile:
    """A build file; paths in it start at the current folder, which is what `bentoml build` packs."""

    path: Path
    data: dict[str, Any]

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
        if (file := python.get("requirements_txt")) and Path(file).is_file():
            lines += Path(file).read_text(encoding="utf-8").splitlines()
        return pinned(lines)

    def packs(self, path: Path) -> bool:
        """Whether a file of the current folder becomes a part of the Bento; BentoML packs everything by default."""
        included, excluded = (
            PathSpec.from_lines("gitwildmatch", self.data.get(key) or default)
            for key, default in (("include", ["*"]), ("exclude", []))
        )
        return included.match_file(path) and not excluded.match_file(path)


def find(name: str | None) -> BuildFile:
    """The build file of a name in `configs/bentos`, of a path, or `bentofile.yaml` where there is none.

    Raises:
        QuantbentoError: there is no such file, or it is no mapping.
    """
    path = DEFAULT if name is None else next((p for p in (FOLDER / f"{name}.yaml", Path(name)) if p.is_file()), None)
    if path is None or not path.is_file():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        what = f"no Bento {name!r}" if name else f"no {DEFAULT} here"
        raise QuantbentoError(
            f"{what}{did_you_mean(name or '', known)} (allowed: {one_of(known)}, which are files in {FOLDER}, or the "
            "path of a build file). Run it where service.py is"
        )
    return BuildFile(path, Document.of(path).data)


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
    for path in sorted(Path("configs").glob("*.yaml")):
        try:
            recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
            if name in {f"{recipe['name']}-{variant['name']}" for variant in recipe["variants"]}:
                return f"python save_models.py {path}"
        except (yaml.YAMLError, OSError, KeyError, TypeError):  # a file of another kind
            continue
    return "python save_models.py configs/<recipe>.yaml"
