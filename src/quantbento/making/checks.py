"""Finds what will go wrong before weights are read: hours of quantizing must not end at a layer whose size does not
divide, a missing tokenizer, or a full disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from quantbento.core import machine, user_code
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.making import (
    ablation_checks,
    adapter_checks,
    engines,
    evaluation_checks,
    lm_eval_checks,
    placement,
    serving_memory,
)
from quantbento.making.hardware import nearest
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.recipe.document import Loc, Problem
from quantbento.store.atomic import models_path
from quantbento.tasks.base import Task
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.text import read_json

REPLACE = "put your own in their place, and take placeholder: true out of the recipe"
PLACEHOLDERS = {
    "evaluation": f"the evaluation samples are placeholders: figures on them prove nothing about your data; {REPLACE}",
    "calibration": f"the calibration samples are placeholders: quantizers learn ranges that your data does not have; "
    f"{REPLACE}",
}
ELSEWHERE = ". With `judge: none` it is made and checked here, and judged where it runs"
HEADROOM = 2e9  # bytes: Python, torch, a few layers' activations and Hessians


@dataclass
class Findings:
    """`problems` stop a recipe from running; `notes` are for people to read."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self, message: str) -> None:
        """Adds a problem of the machine, which has no place in the recipe."""
        self.problems.append(Problem((), message, ""))

    def attempt(self, place: Loc, look: Callable[[], Any]) -> Any:
        """What `look` returns. If it raises, that becomes a problem at `place`, and the result is None."""
        try:
            return look()
        except QuantbentoError as error:
            told = str(error).removeprefix(f"{place[0]}: ")  # the place says that already
            self.problems.append(Problem(place, told))
            return None


def check(resolved: ResolvedRecipe, variants: list[ResolvedVariant], call: bool = True, makes: bool = True) -> Findings:
    """Looks at the model's configuration and tokenizer, the samples, and the machine.

    Args:
        resolved: the recipe, which may have problems.
        variants: the variants to be made.
        call: whether the user's functions may be called, and models and samples downloaded. If not, the notes list
            what was not checked for that reason.
        makes: whether they are quantized here, and not only judged.
    """
    elsewhere = ELSEWHERE if makes else ""
    findings = Findings(list(placement.problems(resolved)))
    for variant in variants:
        if variant.judged and (told := variant.quantizer.serving_problem(variant.options)):
            told += elsewhere
            findings.problems.append(Problem((*variant.place, "options"), told, f"variant {variant.name!r}"))
    inputs, spec = resolved.inputs, resolved.recipe.model
    findings.notes += _not_loaded(resolved, variants)
    if machine.missing_packages(inputs.model.modules):
        return findings  # already reported
    task = None
    if not call and (spec.id or spec.factory):
        what = f"the hub model {spec.id}, which is not fetched" if spec.id else f"{spec.factory}, which is not called"
        findings.notes.append(f"not checked: {what}")
        if spec.weights:
            findings.attempt(("model",), inputs.model.check_files)
    elif resolved.task.on_disk:
        task = _checkpoint(resolved, variants, findings)
    elif not call:
        findings.attempt(("model",), inputs.model.check_files)
        findings.notes.append("not checked: whether the model's weights load, and whether it takes the samples")
    for kind, wanted in inputs.specs.items():
        if call or wanted.path:
            _samples(resolved, kind, task, findings)
        else:
            what = (
                f"dataset {wanted.dataset}, which is not loaded"
                if wanted.dataset
                else f"{wanted.factory}, which is not called"
            )
            findings.notes.append(f"not checked: the {kind} samples: {what}")
    findings.notes += [
        told for kind, told in PLACEHOLDERS.items() if kind in inputs.specs and inputs.specs[kind].placeholder
    ]
    there = call or not (spec.id or spec.factory)
    picky = resolved.task.on_disk or any(variant.runtime.model_types for variant in variants)
    if there and picky and not findings.problems:
        _model(resolved, variants, findings, elsewhere)
    findings.problems += evaluation_checks.problems(resolved.recipe, resolved.task, inputs.read("evaluation"), call)
    findings.problems += ablation_checks.problems(resolved)
    findings.problems += adapter_checks.variant_problems(resolved, variants)
    findings.problems += lm_eval_checks.problems(resolved.task, resolved.recipe.evaluation.lm_eval, call)
    for name, code in {} if call else resolved.recipe.custom_objects.items():
        findings.attempt(("custom_objects", name), partial(user_code.identity, code))
    return findings


def _not_loaded(resolved: ResolvedRecipe, variants: list[ResolvedVariant]) -> list[str]:
    """What a run without judging does not load, for people to read."""
    made = [variant for variant in variants if not variant.judged]
    if not made:
        return []
    runtimes = ", ".join(dict.fromkeys(variant.runtime.name for variant in made))
    reads = "quantizers read the checkpoint themselves" if resolved.task.on_disk else "quantizers get the loaded source"
    told = f"{', '.join(v.name for v in made)}: not judged here. Not loaded for that: the result, in {runtimes}"
    if len(made) == len(variants):
        told += "; full precision, in any runtime"
    return [f"{told}. {reads[0].upper()}{reads[1:]}"]


def _checkpoint(resolved: ResolvedRecipe, variants: list[ResolvedVariant], findings: Findings) -> Task | None:
    """Checks a model that stays on disk: its layers, from its configuration, and the files that the task needs."""
    model = resolved.inputs.model
    folder = findings.attempt(("model",), partial(model.folder, weights=False))
    if folder is None:
        return None
    facts = findings.attempt(("model",), partial(checkpoint.inspect, folder, model.spec.trust_remote_code))
    if facts is not None:
        streamed: dict[str, int | None] = {}
        for variant in variants:
            told = variant.quantizer.preflight(facts, variant.options)
            # What cannot be quantized needs no memory for it.
            streamed[variant.name] = None if told else variant.quantizer.memory_bytes(facts, variant.options)
            told += variant.quantizer.unservable(facts, variant.options) if variant.judged else []
            label = f"variant {variant.name!r}"
            findings.problems += [Problem(variant.place, problem, label) for problem in told]
            if draft := engines.draft_problem(variant.engine, variant.place, folder, label):
                findings.problems.append(draft)
        findings.problems += adapter_checks.folder_problems(model.spec.adapters, facts.linears)
        _needs(facts, streamed, any(variant.judged for variant in variants), findings)
        findings.notes += serving_memory.notes(resolved, variants, facts)
    task = resolved.task.create(SourceModel(folder=folder), resolved.options, SampleSet([]))
    findings.attempt(("model",), task.check_files)
    return task


def _model(resolved: ResolvedRecipe, variants: list[ResolvedVariant], findings: Findings, elsewhere: str) -> None:
    """Finds variants whose runtime does not run this model, by its `config.json`. A factory is called for it.
    `elsewhere` is said where another machine's might."""
    model, task = resolved.inputs.model, resolved.task.name
    folder = findings.attempt(("model",), lambda: model.folder(weights=False) if model.in_hub_format else None)
    config = read_json(folder / "config.json") if folder else {}
    for variant in variants if folder else ():
        runs = variant.runtime.model_problem
        if told := runs(task, config, here=variant.judged):
            told += "" if runs(task, config, here=False) else elsewhere
            findings.problems.append(Problem((*variant.place, "quantizer"), told, f"variant {variant.name!r}"))


def _samples(resolved: ResolvedRecipe, kind: str, task: Task | None, findings: Findings) -> None:
    """Reads the samples, once. A task that can tell without the model's weights checks whether they are enough."""
    samples = findings.attempt((kind,), partial(resolved.inputs.samples, kind))
    if samples is not None and task is not None and kind != "training":
        findings.attempt((kind,), partial(task.check_enough, kind, samples.inputs, resolved.recipe.calibration))


def _needs(
    facts: checkpoint.CheckpointFacts, streamed: dict[str, int | None], judged: bool, findings: Findings
) -> None:
    """A plain estimate. Memory: the 16-bit weights twice, for quantizing or for two engines that are compared, or once
    where nothing is judged, and some headroom; less where no variant holds the model in memory. Disk: the 16-bit
    weights once, and as much again for each variant with the store's copy of it.

    Args:
        streamed: by variant, the peak of memory of quantizing from disk; None where the model is held in memory.
    """
    making = max((facts.size_bytes if peak is None else peak for peak in streamed.values()), default=0)
    memory = int((2 * facts.size_bytes if judged else making) + HEADROOM)
    disk = int(facts.size_bytes * (1 + len(streamed)))
    findings.notes.append(
        f"{facts.parameters / 1e6:.0f} M parameters, {len(facts.linears)} linear layers: needs about "
        f"{memory / 1e9:.1f} GB of memory and at most {disk / 1e9:.1f} GB of disk"
    )
    findings.notes += [
        f"{name}: quantizing from disk, layer by layer, takes about {peak / 1e9:.2f} GB of memory"
        for name, peak in streamed.items()
        if peak is not None
    ]
    if (total := machine.memory_bytes()) and memory > total:
        what = "judging" if judged and None not in streamed.values() else "quantizing"
        alone = making + HEADROOM
        less = f"; with --judge none, {alone / 1e9:.0f} GB are enough" if judged and alone <= total else ""
        findings.say(f"{what} needs about {memory / 1e9:.0f} GB of memory; this machine has {total / 1e9:.0f} GB{less}")
    places = {shutil.disk_usage(p).free: p for p in (Path(tempfile.gettempdir()), nearest(models_path()))}
    free = min(places)
    if disk > free:
        findings.say(
            f"the variants need up to {disk / 1e9:.0f} GB of disk; {places[free]} has {free / 1e9:.0f} GB free. "
            "TMPDIR and BENTOML_HOME name other places"
        )
