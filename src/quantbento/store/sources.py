"""A recipe that a user names to choose from: by its file, or by its name."""

from __future__ import annotations

from pathlib import Path

from quantbento.recipe import name_in
from quantbento.store import best
from quantbento.store.models import models


def recipe_name(given: str) -> str | None:
    """The name of a recipe that is given by its file, or by its name where variants of it are stored; else None.

    Raises:
        QuantbentoError: the file is missing, or no recipe.
    """
    if given.endswith((".yaml", ".yml")):
        return name_in(Path(given))
    stored = models()
    if ":" in given or given in {model.tag.partition(":")[0] for model in stored}:
        return None
    return given if best.variants_of(given, stored) else None
