"""`bentoml build`, with the checks it does not make: the model is stored, whole, and of the kind the Bento is for.

1. the build file and the model it packs; every problem in one message
2. `bentoml build`, with the model's exact version
3. the SBOM, and what went in
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quantbento import store
from quantbento.core.errors import QuantbentoError, RecipeError, StoreError
from quantbento.packing import build_files, model_requirements, sbom
from quantbento.packing.build_files import BuildFile
from quantbento.packing.contents import Contents
from quantbento.runtimes import artifact

EXACT = re.compile(r"\d[\w.!+-]*")


def build(name: str | None = None, model: str | None = None) -> Contents:
    """Builds the Bento of a build file and gives what is in it.

    Args:
        name: in `configs/bentos`, or the path of a build file; `bentofile.yaml` by default.
        model: the tag to pack, instead of the build file's.

    Raises:
        QuantbentoError: lists every problem that was found; or `bentoml build` failed.
    """
    file = build_files.find(name)
    tag = model or file.model
    if problems := list(_problems(file, tag)):
        raise RecipeError(problems, str(file.path))
    contents = Contents.of(_bentoml_build(file, store.find(tag).tag if tag else None))
    sbom.write(contents)
    return contents


def _problems(file: BuildFile, tag: str | None) -> Iterator[str]:
    if not Path("service.py").is_file():
        yield f"no service.py in {Path.cwd()}: run it in the project's folder"
    packages, installed = file.packages, version("bentoml")
    if packages.get("bentoml") != installed:
        yield (
            f"the Bento's packages have bentoml {packages.get('bentoml', 'not at all')}, installed is {installed}, "
            f"which bentoml build adds: pip install bentoml=={packages.get('bentoml', installed)}, or make lock"
        )
    if loose := [name for name, version in packages.items() if not EXACT.fullmatch(version)]:
        yield f"packages without an exact version: {', '.join(loose)}. Pin them: make lock"
    if "bentoml" in packages and (missing := sorted(_needed_by("bentoml") - set(packages))):
        yield (
            f"the packages are not complete, and an image installs no others: bentoml needs {', '.join(missing[:5])}"
            f"{' ...' * (len(missing) > 5)}. make lock writes all that an extra needs; for packages of your own: "
            "uv pip compile"
        )
    if tag:
        yield from _problems_of_model(file, tag)


def _needed_by(distribution: str) -> set[str]:
    """The names of what an installed package needs here."""
    needed = [Requirement(line) for line in requires(distribution) or []]
    return {canonicalize_name(r.name) for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})}


def _problems_of_model(file: BuildFile, tag: str) -> Iterator[str]:
    try:
        stored = store.find(tag)
        stored.verify()
    except StoreError as error:
        saves = build_files.command_that_saves(tag)
        yield str(error).replace("python save_models.py configs/<recipe>.yaml", saves)
        return
    yield from model_requirements.problems(file, stored.tag, artifact.describe(stored.path))


def _bentoml_build(file: BuildFile, model: str | None) -> str:
    """The new Bento's tag."""
    command = [sys.executable, "-m", "bentoml", "build", "--bentofile", str(file.path), "--output", "tag"]
    if model:
        command += ["--arg", f"model={model}"]
    # What is set for serving would be packed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTBENTO_")}
    environment["COLUMNS"] = "1000"  # BentoML folds the tag's line at the terminal's width
    done = subprocess.run([*command, "."], env=environment, capture_output=True, text=True)
    marked = [line for line in done.stdout.splitlines() if line.startswith("__tag__:")]
    if done.returncode or not marked:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise QuantbentoError(f"bentoml build -f {file.path} failed:\n" + "\n".join(lines[-12:]))
    return marked[-1].removeprefix("__tag__:")
