"""What can be known to go wrong with a language model before its weights are read: hours of quantizing must not end at
a layer that does not divide, a missing tokenizer, or a full disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from quantbento.core import registry
from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.core.machine import missing_packages
from quantbento.inputs import checkpoint, source
from quantbento.inputs.samples import load_samples
from quantbento.recipe import Recipe, Samples, Variant
from quantbento.store import models_folder
from quantbento.tasks.text_generation import TextGeneration, read_tokenizer

HEADROOM = 2e9  # bytes: Python, torch, a few layers' activations and Hessians


@dataclass
class Findings:
    """`problems` keep a recipe from being run; `notes` are for people to read."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(recipe: Recipe, variants: list[Variant], call: bool = True) -> Findings:
    """Looks at the model's configuration and tokenizer, the samples, and the machine. Does nothing for tasks whose
    models are held in memory.

    Args:
        recipe: in the right shape; its names and options may be wrong.
        variants: those to be made.
        call: whether the user's own functions may be called and samples downloaded.
    """
    findings = Findings()
    if recipe.task not in source.ON_DISK or missing_packages(source.requires(recipe.model, recipe.task)):
        return findings
    try:
        folder = source.fetch(recipe.model, weights=False)
    except QuantbentoError as error:
        findings.problems.append(f"model: {error}")
        return findings
    try:
        facts = checkpoint.inspect(folder, recipe.model.trust_remote_code)
    except QuantbentoError as error:
        findings.problems.append(f"model: {error}")
    else:
        for variant in known(recipe, variants):
            quantizer = registry.quantizer(variant.quantizer)()
            if (options := _sound_options(quantizer.Options, variant.options)) is not None:
                findings.problems += [f"variant {variant.name!r}: {p}" for p in quantizer.preflight(facts, options)]
        _needs(facts, len(variants), findings)
    findings.problems += _sample_problems(recipe, folder, call)
    return findings


def known(recipe: Recipe, variants: list[Variant]) -> list[Variant]:
    """The variants whose quantizer is there and goes with the task, so that it can be asked for more."""

    def is_known(variant: Variant) -> bool:
        try:
            return registry.runtime_of(registry.quantizer(variant.quantizer), registry.task(recipe.task)) is not None
        except QuantbentoError:
            return False

    return [v for v in variants if is_known(v)]


def _sound_options(options: type[BaseModel], given: dict[str, Any]) -> BaseModel | None:
    """The options without those that are wrong, which are reported with their line."""
    try:
        return options.model_validate(given)
    except ValidationError as error:
        wrong = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
    try:
        return options.model_validate({name: value for name, value in given.items() if name not in wrong})
    except ValidationError:  # they do not go together
        return None


def _sample_problems(recipe: Recipe, folder: Path, call: bool) -> list[str]:
    """A tokenizer that is not there, and samples that are too few once they are tokens."""
    problems = []
    try:
        read_tokenizer(folder)
    except QuantbentoError as error:
        problems.append(f"model: {error}")
    has_tokenizer = not problems
    try:
        task = TextGeneration(folder, TextGeneration.Options.model_validate(recipe.task_options))
    except ValueError:  # they are reported with their line
        return problems
    wanted: list[tuple[str, Samples, int, int]] = [
        ("evaluation", recipe.evaluation, task.options.window, task.options.windows)
    ]
    if calibration := recipe.calibration:
        wanted.append(("calibration", calibration, calibration.sequence_length, calibration.sequences))
    for what, samples, tokens, count in wanted:
        if not call and not samples.path:
            continue
        try:
            inputs = load_samples(samples).inputs
        except QuantbentoError as error:
            problems.append(f"{what}: {error}")
            continue
        try:
            if has_tokenizer:
                task.sequences(task.check_all(inputs, None), tokens, count, what)
            else:
                _certainly_enough(inputs, tokens, count, what)
        except InvalidInput as error:
            problems.append(f"{what}: {error}")
        except QuantbentoError as error:
            problems.append(str(error))
    return problems


def _certainly_enough(items: list[Any], tokens: int, count: int, what: str) -> None:
    """What can be told without a tokenizer: a text has no more tokens than bytes, and two that frame it.

    Raises:
        QuantbentoError: the texts are too few for any tokenizer.
    """
    if all(isinstance(item, str) for item in items):
        most = sum(len(item.encode()) + 2 for item in items) // tokens
        if most < count:
            raise QuantbentoError(
                f"{what}: {len(items)} texts make at most {most} sequences of {tokens} tokens, {count} are asked for"
            )


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
