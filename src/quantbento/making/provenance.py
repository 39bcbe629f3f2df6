"""What a run was made from and how to repeat it, for the report. No sample and no folder of this machine is in it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantbento import __version__
from quantbento.making.plan import Plan
from quantbento.making.storing import ELSEWHERE
from quantbento.recipe import Recipe

SAMPLES = ("evaluation", "calibration", "training")


def describe(recipe: str | Path | dict[str, Any] | Recipe, planned: Plan, only: Sequence[str] | None) -> dict[str, Any]:
    """`provenance` of the report; see `quantbento.judging.rows.Report`.

    Args:
        recipe: as it was given: a file, or the recipe itself.
        only: the variants that were asked for; all if there are none.
    """
    inputs = planned.resolved.inputs
    given: dict[str, Any] = {"content": content(planned.recipe), "order": planned.order}
    if isinstance(recipe, str | Path):
        path = Path(recipe)
        given |= {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "quantbento": __version__,
        "recipe": given,
        "source": planned.source,
        "samples": {kind: inputs.identity(kind) for kind in SAMPLES if kind in inputs.specs},
        "commands": _commands(recipe, only),
    }


def content(recipe: Recipe) -> dict[str, Any]:
    """The recipe without what names files of this machine."""
    variants = [v.model_dump(mode="json", exclude_defaults=True) for v in recipe.variants]
    return recipe.model_dump(mode="json", exclude_defaults=True, exclude=ELSEWHERE) | {"variants": variants}


def _commands(recipe: Any, only: Sequence[str] | None) -> list[str]:
    """What measures all of it again; empty for a recipe that is no file."""
    if not isinstance(recipe, str | Path):
        return []
    path = Path(recipe)
    if path.is_absolute():
        path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(path.name)
    chosen = "".join(f" --variant {shlex.quote(name)}" for name in only or ())
    name = shlex.quote(str(path))
    return [
        f"pip install 'quantbento[quantize]=={__version__}'  # and the versions of packages that are listed above",
        f"quantbento save {name} --force{chosen}",
        f"quantbento report {name}",
    ]
