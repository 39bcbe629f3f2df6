"""What a run will do, decided before anything heavy is loaded: what is missing, and what is already stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError, RecipeError, StoreError, did_you_mean, one_of
from quantbento.inputs.recipe_inputs import SAMPLES
from quantbento.making import checks
from quantbento.making.fingerprint import FINGERPRINT, fingerprint
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant, resolve
from quantbento.recipe import Recipe, read_recipe
from quantbento.recipe.document import Problem
from quantbento.recipe.reading import ReadRecipe, judging

PARTS = ("model", *SAMPLES, "custom_objects")


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        resolved: the recipe, with only the variants that are wanted.
        source: the model's identity, for the manifest.
        fingerprints: by variant.
        reusable: by variant, stored models that need not be made again.
        notes: for people to read.
        identities: of the recipe's parts, by name.
        order: the names of all variants of the recipe, also of those that are not wanted.
    """

    resolved: ResolvedRecipe
    source: dict[str, Any]
    fingerprints: dict[str, str]
    reusable: dict[str, store.StoredModel]
    notes: list[str]
    identities: dict[str, Any] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> Recipe:
        return self.resolved.recipe

    @property
    def pending(self) -> list[ResolvedVariant]:
        return [v for v in self.resolved.variants if v.name not in self.reusable]


def make(
    recipe: str | Path | dict[str, Any] | Recipe, only: list[str] | None, force: bool, judge: str | None = None
) -> Plan:
    """The plan for a recipe, or for some of its variants. With `judge` "none", none of them is judged.

    Raises:
        RecipeError: everything that is wrong with the recipe, or missing on this machine.
    """
    read, resolved, problems = _resolved(recipe, only, judge)
    identities: dict[str, Any] = {}
    for part in PARTS:
        try:
            identities[part] = resolved.inputs.identity(part)
        except QuantbentoError as error:
            problems.append(Problem((part,), str(error)))
    fingerprints, reusable = {}, {}
    if not problems:
        for variant in resolved.variants:
            try:
                fingerprints[variant.name] = fingerprint(resolved, variant, identities)
            except QuantbentoError as error:
                problems.append(Problem((*variant.place, "options"), str(error)))
    if not problems and not force:
        reusable = _reusable(resolved, fingerprints)
    pending = [v for v in resolved.variants if v.name not in reusable]
    findings = checks.check(resolved, pending) if pending else checks.Findings()
    if problems := problems + findings.problems:
        raise read.error(problems)
    order = [variant.name for variant in read.recipe.variants] if read.recipe else []
    return Plan(resolved, identities["model"], fingerprints, reusable, findings.notes, identities, order)


def check(
    recipe: str | Path | dict[str, Any] | Recipe, only: list[str] | None, judge: str | None = None
) -> tuple[ResolvedRecipe, list[str]]:
    """Like `make`, but nothing is fetched, called or hashed. Returns the resolved recipe and notes on it, which list
    what was not checked for that reason.

    Raises:
        RecipeError: everything that is found to be wrong in this way.
    """
    read, resolved, problems = _resolved(recipe, only, judge)
    findings = checks.check(resolved, resolved.variants, call=False)
    if problems := problems + findings.problems:
        raise read.error(problems)
    return resolved, findings.notes


def to_judge(
    recipe: str | Path | dict[str, Any] | Recipe, variant: str
) -> tuple[ReadRecipe, ResolvedRecipe, list[Problem], list[str]]:
    """A recipe with one variant, which was made elsewhere and is judged here: the recipe as it was read, what its names
    mean, everything that is wrong with it or missing on this machine, and notes.

    Raises:
        RecipeError: its shape is wrong, or it has no such variant.
    """
    read, resolved, problems = _wanted(judging(read_recipe(recipe), None, variant), [variant], makes=False)
    findings = checks.check(resolved, resolved.variants, makes=False)
    return read, resolved, problems + findings.problems, findings.notes


def problems(recipe: str | Path | dict[str, Any] | Recipe) -> tuple[list[str], list[Problem]]:
    """The notes of `check`, and the problems with their places that it would raise."""
    read = read_recipe(recipe)
    resolved, found = resolve(read)
    if resolved is None:
        return [], found
    findings = checks.check(resolved, resolved.variants, call=False)
    return findings.notes, found + findings.problems


def look(
    recipe: str | Path | dict[str, Any] | Recipe, only: list[str] | None, judge: str | None = None
) -> tuple[ResolvedRecipe, list[str]]:
    """Like `check`, but the user's functions are called, samples are read and a hub model's small files are fetched, as
    before a run.

    Raises:
        RecipeError: everything that is found to be wrong in this way.
    """
    read, resolved, problems = _resolved(recipe, only, judge)
    findings = checks.check(resolved, resolved.variants)
    if resolved.recipe.model.id:
        findings.attempt(("model",), lambda: resolved.inputs.model.pinned)
    for name, code in resolved.recipe.custom_objects.items():
        findings.attempt(("custom_objects", name), partial(user_code.identity, code))
    for variant in resolved.variants:
        findings.attempt((*variant.place, "options"), partial(fingerprint, resolved, variant, {}))
    if problems := problems + findings.problems:
        raise read.error(problems)
    return resolved, findings.notes


def _resolved(
    recipe: str | Path | dict[str, Any] | Recipe, only: list[str] | None, judge: str | None = None
) -> tuple[ReadRecipe, ResolvedRecipe, list[Problem]]:
    """The recipe with only the wanted variants, and the problems found so far. If its shape is right, the caller looks
    for more problems, so that one run lists everything."""
    read = read_recipe(recipe)
    return _wanted(judging(read, "none") if judge == "none" else read, only)


def _wanted(
    read: ReadRecipe, only: list[str] | None, makes: bool = True
) -> tuple[ReadRecipe, ResolvedRecipe, list[Problem]]:
    resolved, problems = resolve(read, makes)
    if resolved is None:
        raise read.error(problems)
    chosen = _chosen(resolved, only)
    left_out = {("variants", i) for i, v in enumerate(resolved.recipe.variants) if v not in chosen.recipe.variants}
    return read, chosen, [p for p in problems if p.loc[:2] not in left_out]


def _chosen(resolved: ResolvedRecipe, only: list[str] | None) -> ResolvedRecipe:
    """The recipe with only the named variants."""
    recipe = resolved.recipe
    names = [v.name for v in recipe.variants]
    if unknown := [n for n in only or () if n not in names]:
        raise RecipeError(
            [f"no variant {n!r}{did_you_mean(n, names)} (it has {one_of(names)})" for n in unknown],
            f"--variant for recipe {recipe.name!r}",
        )
    if not only:
        return resolved
    changes: dict[str, Any] = {"variants": [v for v in recipe.variants if v.name in only]}
    if recipe.ablate and recipe.ablate.variant in names and recipe.ablate.variant not in only:
        changes["ablate"] = None
    kept = recipe.model_copy(update=changes)
    variants = [v for v in resolved.variants if v.name in only]
    return ResolvedRecipe(kept, resolved.task, resolved.options, resolved.inputs, variants)


def _reusable(resolved: ResolvedRecipe, fingerprints: dict[str, str]) -> dict[str, store.StoredModel]:
    """Stored variants with the same fingerprint that passed their gates and are not damaged; of a variant that is not
    judged, also one that was made and not judged."""
    found = {}
    for variant in resolved.variants:
        for model in store.models(resolved.recipe.model_name(variant.spec)):
            try:
                if model.manifest.get(FINGERPRINT) != fingerprints[variant.name]:
                    continue
                row = model.verify()["variant"]
                if row["passed"] or not (variant.judged or row.get("judged", True)):
                    found[variant.name] = model
                    break
            except StoreError:
                continue  # damaged: make it again
    return found
