"""`name:best` of a recipe: the variant that was promoted as the best one, or else the best by what was measured.

Variants of a recipe are models with names of their own, so an alias of one of them cannot move to another. `best` can:
it is the one name that stands for a recipe's choice among its variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from quantbento.core.errors import StoreError
from quantbento.store import alias_file
from quantbento.store.alias_file import RETIRED
from quantbento.store.candidates import of_manifest
from quantbento.store.choice import choose
from quantbento.store.judged import Stored

BEST = "best"


Model = TypeVar("Model", bound=Stored)


def recipe_name(given: str, stored: Sequence[Stored]) -> str | None:
    """The name of a recipe that is given by its file, or by its name where variants of it are stored; else None.

    Args:
        given: by a user.
        stored: all stored models.

    Raises:
        QuantbentoError: the file is missing, or no recipe.
    """
    if given.endswith((".yaml", ".yml")):
        from quantbento.recipe import name_in  # here, since a service, which imports this module, reads no recipes

        return name_in(Path(given))
    if ":" in given or given in {model.tag.partition(":")[0] for model in stored}:
        return None
    return given if variants_of(given, stored) else None


def variants_of(recipe: str, stored: Sequence[Model]) -> list[Model]:
    """The newest version of each of a recipe's stored variants; damaged ones are left out.

    Args:
        recipe: its name.
        stored: all stored models, the newest version of a name first.
    """
    return list(_newest(recipe, stored))


def of_recipe(recipe: str, stored: Sequence[Model]) -> tuple[str, str] | None:
    """The tag that `recipe:best` stands for, and why. None where the store has no variant of such a recipe.

    Raises:
        StoreError: none of its variants passed its gates and was measured.
    """
    variants = variants_of(recipe, stored)
    if not variants:
        return None
    if promoted := _promoted(variants):
        return promoted
    choice = choose([of_manifest(model.tag, model.manifest) for model in variants])
    if choice.chosen is None:
        raise StoreError(f"{recipe}:{BEST}: {choice.why}. See all of them: quantbento choose {recipe}")
    return choice.chosen.name, f"{choice.why}. To decide by something else: quantbento choose {recipe} --promote {BEST}"


def _newest(recipe: str, stored: Sequence[Model]) -> Iterator[Model]:
    seen: set[str] = set()
    for model in stored:
        name = model.tag.partition(":")[0]
        if name in seen or not name.startswith(recipe):
            continue
        try:
            kept = model.manifest
        except StoreError:
            continue
        if (kept.get("recipe") or {}).get("name") == recipe and "name" in (kept.get("variant") or {}):
            seen.add(name)
            yield model


def _promoted(variants: Sequence[Stored]) -> tuple[str, str] | None:
    """What `best` was moved to last, among all variants."""
    moved = []
    for name in (model.tag.partition(":")[0] for model in variants):
        events = alias_file.read(name).get(BEST) or []
        if events and events[-1].action != RETIRED:
            moved.append((events[-1].time, name, events[-1].version))
    if not moved:
        return None
    time, name, version = max(moved)
    return f"{name}:{version}", f"promoted as {name}:{BEST} at {time}"
