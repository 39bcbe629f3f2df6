"""What is wrong with a recipe's LoRA adapters, before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from quantbento.core import registry
from quantbento.inputs import adapters
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.recipe.document import Problem

PLACE = ("model", "adapters")


def variant_problems(resolved: ResolvedRecipe, variants: Iterable[ResolvedVariant]) -> list[Problem]:
    """Whether the task and every variant can have adapters beside the model, and whether their names are free."""
    named = resolved.recipe.model.adapters
    if not named:
        return []
    if resolved.task.contract != "tokens":
        told = (
            f"the task {resolved.task.name!r} has no adapters beside its model; merge one: model: {{adapter: FOLDER}}"
        )
        return [Problem(PLACE, told)]
    found = []
    for variant in variants:
        label = f"variant {variant.name!r}"
        if not variant.runtime.takes_adapters:
            fitting = ", ".join(n for n in registry.RUNTIMES if registry.runtime(n).takes_adapters)
            told = (
                f"its runtime {variant.runtime.name} has no adapters beside a model ({fitting} have); merge one instead"
            )
            found.append(Problem((*variant.place, "quantizer"), told, label))
        elif not variant.quantizer.takes_adapters:
            told = f"PEFT has no adapters for the layers that {variant.quantizer.name} makes; merge one instead"
            found.append(Problem((*variant.place, "quantizer"), told, label))
        if (name := resolved.recipe.model_name(variant.spec)) in named:
            found.append(Problem((*PLACE, name), f"{name!r} is what requests call {label} itself; choose another name"))
    return found


def folder_problems(named: Mapping[str, Path], linears: Mapping[str, tuple[int, int]]) -> list[Problem]:
    """What keeps each adapter from running beside a model with these linear layers, (outputs, inputs) by name."""
    return [
        Problem((*PLACE, name), told) for name, folder in named.items() for told in adapters.problems(folder, linears)
    ]
