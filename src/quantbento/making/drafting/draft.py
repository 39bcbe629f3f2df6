"""From what a user names to a recipe that runs:

1. find the model and read what it says about itself
2. choose its task, its variants, and gates at the level that is asked for
3. look at the samples, or make up some that stand in for them
4. write the recipe, and do with it what a dry run does: a variant that this machine or this model does not allow is
   taken out, with the reason as a comment. What is left has no problems, or nothing is written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, RecipeError
from quantbento.making import hardware, plan
from quantbento.making.drafting import named
from quantbento.making.drafting.contents import Contents, contents
from quantbento.making.drafting.document import render
from quantbento.making.drafting.request import Request
from quantbento.making.drafting.sampling import KINDS
from quantbento.making.drafting.variant_choice import OTHER_KIND

FOLDER = Path("configs")  # of recipes, where there is one


@dataclass(frozen=True)
class Draft:
    """A recipe that passes a dry run.

    Attributes:
        path: where it belongs.
        summary: what was decided, in one line.
        placeholders: by kind of samples, the files beside it that stand in for them.
        needs: what the dry run says it takes of this machine.
    """

    path: Path
    text: str
    summary: str
    placeholders: dict[str, Path]
    needs: list[str]


def draft(request: Request, *, write: bool = True) -> Draft:
    """The recipe for a model; written, with samples that stand in for the user's, unless `write` is false.

    Raises:
        QuantbentoError: there is no recipe for this model that would run, or a file is in the way.
    """
    found = named.find(
        request.source,
        base=request.base,
        weights=request.weights,
        revision=request.revision,
        trust=request.trust_remote_code,
    )
    name = request.name or found.name
    path = request.output or (FOLDER if FOLDER.is_dir() else Path()) / f"{name}.yaml"
    if write and path.exists() and not request.force:
        raise QuantbentoError(f"{path} exists; --force replaces it, --output names another file")
    with tempfile.TemporaryDirectory(prefix="quantbento-init-") as folder:
        staging = Path(folder)
        wanted = contents(request, found, staging)
        notes = _settle(wanted, staging)
        text = _text(wanted, path.parent, staging)
        staged = _stand_ins(wanted)
        beside = {kind: path.parent / file.name for kind, file in staged.items()}
        if write:
            _place(list(staged.values()), list(beside.values()), path, text)
    needs = [note for note in notes if "GB of memory" in note]
    return Draft(path, text, _summary(wanted), beside, needs)


def _settle(contents: Contents, staging: Path) -> list[str]:
    """Takes out variants until a dry run finds no problem. Returns its notes.

    Raises:
        RecipeError: a problem is not that of a variant, or no variant is left.
    """
    while True:
        if not contents.choice.variants:
            raise RecipeError(_reasons(contents), f"{contents.recipe['name']}: no quantizer can be used for it here")
        if not contents.choice.calibrating:
            contents.recipe["calibration"] = None
        if not contents.choice.has_engine:
            contents.recipe["task_options"].pop("engine", None)
        trial = staging / "recipe.yaml"
        trial.write_text(_text(contents, staging, None), encoding="utf-8")
        notes, problems = plan.problems(trial)
        trial.unlink()
        quantizers = [variant["quantizer"] for variant in contents.choice.variants]
        reasons: dict[str, str] = {}
        for problem in problems:
            match problem.loc:
                case ("variants", int(index), *_):
                    reasons.setdefault(quantizers[index], problem.message)
        if others := [p.message for p in problems if p.loc[:1] != ("variants",)]:
            raise RecipeError(others, f"the recipe for {contents.recipe['name']}; nothing was written")
        if not reasons:
            return notes
        for quantizer, reason in reasons.items():
            contents.choice.leave_out(quantizer, reason)


def _text(contents: Contents, folder: Path, staging: Path | None) -> str:
    """The YAML of a recipe in `folder`. What is staged will lie beside it; None while it lies where it is."""
    given = {**contents.recipe, "variants": contents.choice.variants}
    recipe = {key: _paths(value, folder, staging) for key, value in given.items() if value not in (None, {}, [])}
    here = hardware.look()
    meaning = f"{hardware.int8(here.cpu_flags)}; {hardware.bf16(here.cpu_flags)}"
    before = [contents.about, f"Written by quantbento init for this machine: {here}. {meaning}."]
    return render(recipe, contents.comments, before, [f"Left out: {reason}" for reason in _reasons(contents)])


def _paths(value: Any, folder: Path, staging: Path | None) -> Any:
    """Paths as the recipe says them: beside it by name, inside the current folder relative to it, others whole."""
    if isinstance(value, dict):
        return {key: _paths(inner, folder, staging) for key, inner in value.items()}
    if not isinstance(value, Path):
        return str(value) if isinstance(value, str) else value
    if staging is not None and value.is_relative_to(staging):
        return value.name
    if staging is not None and value.is_relative_to(Path.cwd()):
        return Path(os.path.relpath(value, folder.resolve())).as_posix()
    return str(value)


def _reasons(contents: Contents) -> list[str]:
    """By reason, what was left out; that a quantizer is for other models comes last."""
    ordered = sorted(contents.choice.left_out.items(), key=lambda item: item[0] == OTHER_KIND)
    return [f"{', '.join(names)}: {reason}" for reason, names in ordered]


def _stand_ins(contents: Contents) -> dict[str, Path]:
    """By kind, the staged samples that stand in for the user's."""
    specs = {kind: contents.recipe.get(kind) or {} for kind in KINDS}
    return {kind: spec["path"] for kind, spec in specs.items() if spec.get("placeholder")}


def _place(staged: list[Path], beside: list[Path], path: Path, text: str) -> None:
    """Moves what was staged beside the recipe, and writes the recipe last."""
    if there := [str(p) for p in beside if p.exists()]:  # they may hold the user's samples by now
        raise QuantbentoError(f"{', '.join(there)} exists already; name it with --evaluation, or move it away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for source, target in zip(staged, beside, strict=True):
            shutil.move(source, target)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise QuantbentoError(f"{path} could not be written: {error.strerror}; --output names another place") from error


def _summary(contents: Contents) -> str:
    variants = ", ".join(variant["name"] for variant in contents.choice.variants)
    return f"{contents.about}: {contents.recipe['task']}; variants {variants}"
