"""What can be known to go wrong with a language model before its weights are read: hours of quantizing must not end at
a layer that does not divide, a missing tokenizer, or a full disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbento import checkpoint, factories, registry, source
from quantbento.environment import missing_packages
from quantbento.errors import QuantbentoError
from quantbento.recipe import Recipe, Samples, Variant
from quantbento.samples import load_samples
from quantbento.store import models_folder
from quantbento.tasks.text_generation import TextGeneration, read_tokenizer

HEADROOM = 2e9  # bytes: Python, torch, a few layers' activations and Hessians


@dataclass
class Findings:
    """`problems` keep a recipe from being run; `notes` are for people to read."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(recipe: Recipe, variants: list[Variant]) -> Findings:
    """Looks at the model's configuration and tokenizer, the samples, and the machine. Does nothing for tasks whose
    models are held in memory.

    Args:
        recipe: in the right shape; its names and options may be wrong.
        variants: those to be made.
    """
    findings = Findings()
    if recipe.task not in source.ON_DISK or missing_packages(source.requires(recipe.model, recipe.task)):
        return findings
    try:
        folder = source.fetch(recipe.model, weights=False)
        facts = checkpoint.inspect(folder, recipe.model.trust_remote_code)
    except QuantbentoError as error:
        findings.problems.append(f"model: {error}")
        return findings
    for variant in sound(recipe, variants):
        quantizer = registry.quantizer(variant.quantizer)()
        options = quantizer.Options.model_validate(variant.options)
        findings.problems += [f"variant {variant.name!r}: {p}" for p in quantizer.preflight(facts, options)]
    findings.problems += _sample_problems(recipe, folder)
    _needs(facts, len(variants), findings)
    return findings


def sound(recipe: Recipe, variants: list[Variant]) -> list[Variant]:
    """The variants that nothing is wrong with in what they say themselves, so that they can be asked for more."""

    def is_sound(variant: Variant) -> bool:
        try:
            quantizer = registry.quantizer(variant.quantizer)
            quantizer.Options.model_validate(variant.options)
            return registry.runtime_of(quantizer, registry.task(recipe.task)) is not None
        except (QuantbentoError, ValueError):
            return False

    return [v for v in variants if is_sound(v)]


def _sample_problems(recipe: Recipe, folder: Path) -> list[str]:
    """A tokenizer that is not there, and samples that are too few once they are tokens."""
    try:
        read_tokenizer(folder)
        task = TextGeneration(folder, TextGeneration.Options.model_validate(recipe.task_options))
    except QuantbentoError as error:
        return [f"model: {error}"]
    except ValueError:  # task_options are reported with their line
        return []
    problems = []
    counts: list[tuple[Samples, Any]] = [(recipe.evaluation, task.windows)]
    if wanted := recipe.calibration:
        counts.append((wanted, lambda t: task.sequences(t, wanted.sequence_length, wanted.sequences, "calibration")))
    for samples, enough in counts:
        try:
            preprocess = _preprocess(recipe)
            enough([preprocess(item) for item in load_samples(samples).inputs])
        except QuantbentoError as error:
            problems.append(str(error))
    return problems


def _preprocess(recipe: Recipe) -> Any:
    reference = recipe.custom_objects.get("preprocess")
    return factories.resolve(reference) if reference else lambda item: item


def _needs(facts: checkpoint.CheckpointFacts, variants: int, findings: Findings) -> None:
    """A plain estimate: the weights in 16 bit once to quantize, once for each engine that is compared; on disk every
    variant in the workspace, and the store's copy of it."""
    memory = int(2 * facts.size_bytes + HEADROOM)
    disk = int(facts.size_bytes * (1 + variants))
    findings.notes.append(
        f"{facts.parameters / 1e6:.0f} M parameters, {len(facts.linears)} linear layers: needs about "
        f"{memory / 1e9:.1f} GB of memory and at most {disk / 1e9:.1f} GB of disk"
    )
    if (total := _memory()) and memory > total:
        findings.problems.append(
            f"quantizing needs about {memory / 1e9:.0f} GB of memory; this machine has {total / 1e9:.0f} GB"
        )
    places = {shutil.disk_usage(p).free: p for p in (Path(tempfile.gettempdir()), models_folder())}
    free = min(places)
    if disk > free:
        findings.problems.append(
            f"the variants need up to {disk / 1e9:.0f} GB of disk; {places[free]} has {free / 1e9:.0f} GB free. "
            "TMPDIR and BENTOML_HOME name other places"
        )


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
