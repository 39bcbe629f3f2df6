"""`bentoml build`, with the checks it does not make: the model is stored, whole, and of the kind the Bento is for.

1. the build file, or the one that follows from a stored model; every problem in one message
2. `bentoml build`, with the model's exact version
3. the SBOM, and what went in
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quantbento import store
from quantbento.core.errors import QuantbentoError, RecipeError, StoreError
from quantbento.packing import build_files, keys_in_files, model_requirements, pickled_modules, sbom, staging, target
from quantbento.packing.build_files import BuildFile
from quantbento.packing.contents import Contents
from quantbento.packing.drafting import SIGNING
from quantbento.runtimes import artifact
from quantbento.store import signing
from quantbento.store.aliases import failed_gates
from quantbento.store.judged import require_judged

EXACT = re.compile(r"\d[\w.!+-]*")


def build(
    name: str | None = None,
    model: str | None = None,
    write: Path | None = None,
    gpu: bool = False,
    trusted_keys: Sequence[Path] = (),
    say: Callable[[str], None] = lambda note: None,
) -> Contents:
    """Builds the Bento of a build file, or of a stored model, and gives what is in it.

    Args:
        name: in `configs/bentos`, the path of a build file, or the tag of a stored model; `bentofile.yaml` by default.
        model: the tag to pack, instead of the build file's.
        write: where to keep the build file of a stored model.
        gpu: build a stored model for an NVIDIA GPU, also where it was judged on a CPU.
        trusted_keys: public keys. The model has to be signed with one of them, and the Bento gets what a service needs
            to check that again.
        say: gets what a person should know of it, line by line.

    Raises:
        QuantbentoError: lists every problem that was found; or `bentoml build` failed.
    """
    sbom.check_packages()
    chosen = target.find(name, model, write, gpu, signed=bool(trusted_keys))
    if chosen.note:
        say(chosen.note)
    file = staging.completed(chosen.file)
    if problems := list(_problems(file, chosen.model, trusted_keys)):
        drafted = isinstance(file.supplied.get(file.path), str)
        raise RecipeError(problems, f"what {chosen.model} would be built of" if drafted else str(file.path))
    stored = store.find(chosen.model) if chosen.model else None
    if stored and stored.chosen:
        say(f"{chosen.model} is {stored.tag}: {stored.chosen}")
    if stored and (failed := failed_gates(stored)):
        say(f"{stored.tag} did not pass its gates: {'; '.join(failed)}")
    if trusted_keys and not file.packages.keys() >= set(SIGNING):
        say(
            f"the Bento's packages do not have {' and '.join(SIGNING)}, so its service cannot check the signature; "
            f"add them to the requirements of {file.path}, or let those be written: quantbento build {chosen.model}"
        )
    contents = Contents.of(_bentoml_build(file, stored.tag if stored else None))
    sbom.write(contents)
    for path in _keep(file) if write else ():
        say(f"wrote {path}")
    return contents


def _keep(file: BuildFile) -> Iterator[Path]:
    """Writes what was drafted as text: the build file, and a list of packages where it needs one of its own."""
    for path, text in file.supplied.items():
        if isinstance(text, str):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            yield path


def _problems(file: BuildFile, tag: str | None, trusted_keys: Sequence[Path]) -> Iterator[str]:
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
    yield from keys_in_files.problems(file)
    if tag:
        yield from _problems_of_model(file, tag, trusted_keys)
    elif trusted_keys:
        yield f"the build file names no model, so no signature can be checked; add --model TAG, or args to {file.path}"


def _needed_by(distribution: str) -> set[str]:
    """The names of what an installed package needs here."""
    needed = [Requirement(line) for line in requires(distribution) or []]
    return {canonicalize_name(r.name) for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})}


def _problems_of_model(file: BuildFile, tag: str, trusted_keys: Sequence[Path]) -> Iterator[str]:
    try:
        stored = store.find(tag)
        stored.verify()
        require_judged(stored)
        if trusted_keys:
            signing.check(stored.path, stored.tag, trusted_keys)
    except StoreError as error:
        saves = build_files.command_that_saves(tag)
        yield str(error).replace("python save_models.py configs/<recipe>.yaml", saves)
        return
    pickled = pickled_modules.distributions(stored.path)
    yield from model_requirements.problems(file, stored.tag, artifact.describe(stored.path), pickled)


def _bentoml_build(file: BuildFile, model: str | None) -> str:
    """The new Bento's tag."""
    # What is set for serving would be packed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTBENTO_")}
    environment["COLUMNS"] = "1000"  # BentoML folds the tag's line at the terminal's width
    with staging.build_folder(file) as (folder, path):
        command = [sys.executable, "-m", "bentoml", "build", "--bentofile", str(path), "--output", "tag"]
        if model:
            command += ["--arg", f"model={model}"]
        done = subprocess.run([*command, "."], cwd=folder, env=environment, capture_output=True, text=True)
    marked = [line for line in done.stdout.splitlines() if line.startswith("__tag__:")]
    if done.returncode or not marked:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise QuantbentoError(f"bentoml build -f {file.path} failed:\n" + "\n".join(lines[-12:]))
    return marked[-1].removeprefix("__tag__:")
