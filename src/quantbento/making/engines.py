"""Settings of each variant's engine: the recipe's and its own, and the draft model that they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantbento.inputs.draft_models import SPECULATIVE, draft_of, problem, without_paths
from quantbento.making.inspection import Inspection
from quantbento.recipe.document import Loc, Problem
from quantbento.runtimes.base import Runtime

NAMES = ("enable_prefix_caching", SPECULATIVE)  # they are judged, so the baseline has none of them


def plain(engine: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of full precision's engine."""
    return {name: value for name, value in engine.items() if name not in NAMES}


def judged(engine: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are compared with a plain engine's, for people to read."""
    return without_paths({name: value for name, value in engine.items() if name in NAMES})


def decodes_otherwise(data: Mapping[str, Any], variant: Mapping[str, Any]) -> bool:
    """Whether a variant's engine has settings that are judged, by a recipe of any shape: its own or the recipe's."""
    options = data.get("task_options")
    shared = options.get("engine") if isinstance(options, Mapping) else None
    both = [given for given in (shared, variant.get("engine")) if isinstance(given, Mapping)]
    return any({name: given[name] for given in both for name in NAMES if name in given}.values())


def merged(
    found: Inspection,
    place: Loc,
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
    runtime: type[Runtime],
    folder: Path,
) -> dict[str, Any]:
    """A variant's settings, `shared` ones and its `own`; what is wrong with these is told. Paths start at the recipe's
    folder."""
    engine = {**shared, **own}
    if own and runtime.Settings is None:
        found.say((*place, "engine"), f"its runtime {runtime.name} has no settings; leave it out")
    elif own and runtime.Settings is not None:
        found.options(runtime.Settings, engine, (*place, "engine"))
    if (draft := draft_of(engine)) is None:
        return engine
    if SPECULATIVE not in own:
        told = "a draft model is stored with a variant: move speculative_config to engine of those that have it"
        found.say(("task_options", "engine", SPECULATIVE), told)
    path = (folder / Path(draft).expanduser()).resolve()
    if not path.is_dir():
        found.say((*place, "engine", SPECULATIVE, "model"), f"no such folder: {path}")
    return {**engine, SPECULATIVE: {**engine[SPECULATIVE], "model": str(path)}}


def draft_problem(engine: dict[str, Any], place: Loc, model: Path, label: str) -> Problem | None:
    """Why a variant's draft model cannot guess for the model in a folder."""
    if (draft := draft_of(engine)) is None or not Path(draft).is_dir():
        return None
    vocabulary = json.loads((model / "config.json").read_text(encoding="utf-8")).get("vocab_size")
    told = problem(Path(draft), vocabulary, str(engine[SPECULATIVE].get("method")))
    return None if told is None else Problem((*place, "engine"), told, label)
