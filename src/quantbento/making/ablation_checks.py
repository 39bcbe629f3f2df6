"""Which parts of a variant can be turned off, and what is wrong with a recipe's `ablate`."""

from __future__ import annotations

from typing import Any

from quantbento.core.errors import did_you_mean, one_of
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.recipe.document import Problem

# Parts that are options of quantizers, each with the options that turn it off. The first that a quantizer has counts.
OPTIONS: dict[str, dict[str, Any]] = {
    "per_channel": {"per_channel": False},
    "per_token": {"activations": "per_tensor"},
    "smooth_quant": {"smooth_quant_alpha": None, "smoothing_strength": 0.0},
}


def problems(resolved: ResolvedRecipe) -> list[Problem]:
    """What is wrong with the recipe's `ablate`."""
    wanted = resolved.recipe.ablate
    if wanted is None:
        return []
    names = [variant.name for variant in resolved.recipe.variants]
    if wanted.variant not in names:
        told = f"no variant {wanted.variant!r}{did_you_mean(wanted.variant, names)} (it has {one_of(names)})"
        return [Problem(("ablate", "variant"), told)]
    found = []
    for variant in (v for v in resolved.variants if v.name == wanted.variant):
        has = parts(resolved, variant)
        for place, part in enumerate(wanted.off):
            if part not in has:
                told = f"{variant.quantizer.name} of task {resolved.task.name} has no {part} to turn off"
                found.append(Problem(("ablate", "off", place), f"{told} (it has {one_of(has)})"))
    return found


def parts(resolved: ResolvedRecipe, variant: ResolvedVariant) -> list[str]:
    """What of a variant can be turned off."""
    found = [part for part in OPTIONS if turned_off(variant, part) is not None]
    if resolved.recipe.calibration and variant.quantizer.needs(variant.options) != "calibration":
        found += ["calibration"] if variant.quantizer.reads("calibration") else []
    return [*found, "batching", *(["kv_cache"] if resolved.task.contract == "tokens" else [])]


def turned_off(variant: ResolvedVariant, part: str) -> Any:
    """The variant's options with a part turned off; None where the quantizer has no such part, or it is off."""
    fields = type(variant.options).model_fields
    for option, value in OPTIONS.get(part, {}).items():
        if option in fields and getattr(variant.options, option) != value:
            return variant.options.model_copy(update={option: value})
    return None
