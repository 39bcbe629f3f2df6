"""What the manifest of an unjudged model holds, so that another machine can judge it: the recipe, and what tells that
the model and the samples there are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantbento.making.cache import made_model
from quantbento.making.plan import Plan
from quantbento.recipe import Recipe, Variant
from quantbento.tasks.source import SourceModel

NAMES = ("path", "file")  # in an identity: what files are called, which may differ where they are the same


def describe(planned: Plan, variant: Variant, source: SourceModel) -> dict[str, Any]:
    """For the manifest.

    Attributes of the result:
        recipe: with this variant alone; None where it names files of this machine, so that it has to be given.
        order: the names of all of the recipe's variants.
        evaluation: how the samples are read and judged on, without their path.
        samples: their identity.
        source_sha256: of a model that a function made; of others the manifest's `source` says enough.
    """
    return {
        "recipe": None if any(_paths(planned.recipe.model_dump())) else _recipe(planned.recipe, variant),
        "order": planned.order,
        "evaluation": evaluation(planned.recipe),
        "samples": planned.identities.get("evaluation"),
        "source_sha256": made_model(planned.resolved, source),
    }


def evaluation(recipe: Recipe) -> dict[str, Any]:
    """How samples are read and judged on, without their path."""
    return recipe.evaluation.model_dump(mode="json", exclude_defaults=True, exclude={"path"})


def same(one: Any, other: Any) -> bool:
    """Whether two identities are of the same content, whatever its files are called."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return bool(one == other)
    first, second = ({k: v for k, v in found.items() if k not in NAMES} for found in (one, other))
    return first == second


def _recipe(recipe: Recipe, variant: Variant) -> dict[str, Any]:
    whole = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"variants": True, "ablate": True})
    return whole | {"variants": [variant.model_dump(mode="json", exclude_defaults=True, exclude={"judge"})]}


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _paths(part)
