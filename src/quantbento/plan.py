"""What a run will do, decided before anything heavy is loaded: what is missing, and what is stored already."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento import __version__, factories, registry, samples, source, store
from quantbento.environment import missing_packages, package_versions
from quantbento.errors import QuantbentoError, RecipeError, StoreError, did_you_mean, one_of
from quantbento.recipe import Recipe, Variant, load_recipe

FINGERPRINT = "fingerprint"  # the manifest's key that tells what a stored model was made from
# A new version of any of these makes another artifact of the same recipe, or other figures for it.
VERSIONED = ("onnx", "onnxruntime", "onnxscript", "peft", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Plan:
    """`fingerprints` tell, by variant name, what a variant is made from; two equal ones need one run."""

    recipe: Recipe
    source: dict[str, Any]
    fingerprints: dict[str, str]
    reusable: dict[str, store.StoredModel]

    @property
    def pending(self) -> list[Variant]:
        return [v for v in self.recipe.variants if v.name not in self.reusable]


def make(recipe: str | Path | dict[str, Any] | Recipe, only: list[str] | None, force: bool) -> Plan:
    """The plan for a recipe, or for some of its variants.

    Raises:
        RecipeError: everything that is wrong with the recipe, or missing on this machine.
    """
    recipe = chosen(load_recipe(recipe), only)
    problems = _missing(recipe)
    made_from: dict[str, Any] = {}
    for place, identify in {
        "model": lambda: source.identify(recipe.model),
        "evaluation": lambda: samples.identify(recipe.evaluation),
        "custom_objects": lambda: {k: factories.identity(v) for k, v in recipe.custom_objects.items()},
    }.items():
        try:
            made_from[place] = identify()
        except QuantbentoError as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise RecipeError(problems, f"recipe {recipe.name!r}")
    fingerprints = {v.name: _fingerprint(recipe, v, made_from) for v in recipe.variants}
    reusable = {} if force else _reusable(recipe, fingerprints)
    return Plan(recipe, made_from["model"], fingerprints, reusable)


def chosen(recipe: Recipe, only: list[str] | None) -> Recipe:
    """The recipe with the named variants alone."""
    names = [v.name for v in recipe.variants]
    if unknown := [n for n in only or () if n not in names]:
        raise RecipeError(
            [f"no variant {n!r}{did_you_mean(n, names)} (it has {one_of(names)})" for n in unknown],
            f"--variant for recipe {recipe.name!r}",
        )
    if not only:
        return recipe
    return recipe.model_copy(update={"variants": [v for v in recipe.variants if v.name in only]})


def _missing(recipe: Recipe) -> list[str]:
    problems = []
    if missing := missing_packages(source.requires(recipe.model, recipe.task)):
        problems.append(
            f"model: loading it needs {', '.join(missing)}, not installed here; run: pip install 'quantbento[quantize]'"
        )
    for variant in recipe.variants:
        if missing := missing_packages(registry.quantizer(variant.quantizer).requires):
            problems.append(
                f"variant {variant.name!r}: {variant.quantizer} needs {', '.join(missing)}, not installed here; "
                "run: pip install 'quantbento[quantize]'"
            )
    return problems


def _fingerprint(recipe: Recipe, variant: Variant, made_from: dict[str, Any]) -> str:
    parts = {
        "quantbento": __version__,
        "packages": package_versions(VERSIONED),
        "task": [recipe.task, recipe.task_options],
        "variant": variant.model_dump(mode="json", exclude={"gates"}),
        "gates": recipe.gates_of(variant).model_dump(),
        "benchmark": recipe.benchmark.model_dump(),
        "labels": recipe.labels,
        "description": recipe.description,
        **made_from,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _reusable(recipe: Recipe, fingerprints: dict[str, str]) -> dict[str, store.StoredModel]:
    """Stored variants made from the very same things that passed their gates and are still whole."""
    found = {}
    for variant in recipe.variants:
        for model in store.models(recipe.model_name(variant)):
            try:
                if model.manifest.get(FINGERPRINT) != fingerprints[variant.name]:
                    continue
                if model.verify()["variant"]["passed"]:
                    found[variant.name] = model
                    break
            except StoreError:
                continue  # damaged: make it anew
    return found
