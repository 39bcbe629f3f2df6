"""Draft models for speculative decoding: what is wrong with one before any work, and its copy in an artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quantbento.core.errors import summary
from quantbento.core.files import link_checkpoint
from quantbento.inputs.folders import hash_folder
from quantbento.runtimes.speculation import DRAFT

SPECULATIVE = "speculative_config"


def draft_of(engine: dict[str, Any]) -> str | None:
    """What checked or unchecked engine settings name as draft model."""
    speculative = engine.get(SPECULATIVE)
    named = speculative.get("model") if isinstance(speculative, dict) else None
    return named if isinstance(named, str) else None


def problem(folder: Path, vocabulary: int | None, method: str) -> str | None:
    """Why a draft model cannot guess for a model with a vocabulary of this size; None where nothing is known to be
    wrong."""
    path = folder / "config.json"
    if not path.is_file():
        return f"{folder} is no model in hub format: it has no config.json"
    try:
        own = json.loads(path.read_text(encoding="utf-8")).get("vocab_size")
    except (OSError, ValueError, AttributeError) as error:
        return f"{path} cannot be read: {summary(error)}"
    if method == "draft_model" and None not in (own, vocabulary) and own != vocabulary:
        return f"{folder} has {own} tokens, the model {vocabulary}: a draft model needs the same vocabulary"
    return None


def identity(engine: dict[str, Any]) -> dict[str, str]:
    """What identifies a draft model: the hash of its files; empty without one."""
    named = draft_of(engine)
    return {} if named is None else {"draft_sha256": hash_folder(Path(named))}


def keep(engine: dict[str, Any], artifact: Path) -> dict[str, Any]:
    """Engine settings whose draft model, if they name one, is a folder of the artifact: it was copied there."""
    if (named := draft_of(engine)) is None:
        return engine
    target = artifact / DRAFT
    target.mkdir()
    link_checkpoint(Path(named), target)
    return {**engine, SPECULATIVE: {**engine[SPECULATIVE], "model": DRAFT}}


def without_paths(engine: dict[str, Any]) -> dict[str, Any]:
    """Engine settings to store or to show: of a draft model's folder only the name."""
    if (named := draft_of(engine)) is None:
        return engine
    return {**engine, SPECULATIVE: {**engine[SPECULATIVE], "model": Path(named).name}}
