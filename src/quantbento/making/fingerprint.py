"""A hash of what a variant is made from: two variants with the same hash need only one run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from quantbento import __version__
from quantbento.core import registry, user_code
from quantbento.core.machine import package_versions
from quantbento.inputs import draft_models
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant

FINGERPRINT = "fingerprint"  # the manifest's key for what a stored model was made from


def distributions(resolved: ResolvedRecipe, variant: ResolvedVariant) -> list[str]:
    """Packages whose versions decide the result, as declared by the model, task, quantizer and runtime."""
    parts = (resolved.inputs.model, resolved.task, variant.quantizer, variant.runtime)
    return sorted({name for part in parts for name in part.distributions})


def fingerprint(resolved: ResolvedRecipe, variant: ResolvedVariant, identities: dict[str, Any]) -> str:
    """The fingerprint of a variant.

    Args:
        identities: identities of the recipe's parts, from `RecipeInputs.identity`. Samples that the quantizer does not
            use are left out.

    Raises:
        QuantbentoError: a function that the options name does not exist.
    """
    recipe, spec = resolved.recipe, variant.spec
    uses = {kind for kind in ("calibration", "training") if variant.quantizer.reads(kind) or spec.ranks_on(kind)}
    unused = {"calibration", "training"} - uses
    outside = {
        "task": registry.identity("task", recipe.task),
        "quantizer": registry.identity("quantizer", spec.quantizer),
        "runtime": registry.identity("runtime", registry.name_of("runtime", variant.runtime)),
    }
    functions = [*user_code.named_in(variant.options), *user_code.named_in(resolved.options)]
    parts = {
        "quantbento": __version__,
        "packages": package_versions(distributions(resolved, variant)),
        "outside": {kind: identity for kind, identity in outside.items() if identity},
        "functions": [user_code.identity(function) for function in functions],
        "task": [recipe.task, recipe.task_options],
        "variant": spec.model_dump(mode="json", exclude={"gates", "judge"}),
        "gates": variant.gates.model_dump(),
        "benchmark": recipe.benchmark.model_dump(),
        "labels": recipe.labels,
        **draft_models.identity(variant.engine),
        "description": recipe.description,
        **{part: identity for part, identity in identities.items() if part not in unused},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
