"""What can be known to go wrong before weights are read: hours of quantizing must not end at a layer that does not
divide, a missing tokenizer, or a full disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core import machine, user_code
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.inputs.samples import SampleSet
from quantbento.inputs.source import SourceModel
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.recipe.document import Loc, Problem
from quantbento.runtimes.onnx import external_data
from quantbento.tasks.base import Task

HEADROOM = 2e9  # bytes: Python, torch, a few layers' activations and Hessians


@dataclass
class Findings:
    """`problems` keep a recipe from being run; `notes` are for people to read."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self, message: str) -> None:
        """A problem of the machine, which has no place in the recipe."""
        self.problems.append(Problem((), message, ""))

    def attempt(self, place: Loc, look: Callable[[], Any]) -> Any:
        """What `look` gives; its error is a problem of the place, and gives None."""
        try:
            return look()
        except QuantbentoError as error:
            told = str(error).removeprefix(f"{place[0]}: ")  # which the place says
            self.problems.append(Problem(place, told))
            return None


def check(resolved: ResolvedRecipe, variants: list[ResolvedVariant], call: bool = True) -> Findings:
    """Looks at the model's configuration and tokenizer, the samples, and the machine.

    Args:
        resolved: may have problems.
        variants: those to be made.
        call: whether the user's own functions may be called, and models and samples be downloaded. Without, what is
            not looked at for that reason is told in the notes.
    """
    findings = Findings()
    inputs, spec = resolved.inputs, resolved.recipe.model
    if machine.missing_packages(inputs.model.modules):
        return findings  # a problem already
    task = None
    if not call and (spec.id or spec.factory):
        what = f"the hub model {spec.id}, which is not fetched" if spec.id else f"{spec.factory}, which is not called"
        findings.notes.append(f"not checked: {what}")
    elif resolved.task.on_disk:
        task = _checkpoint(resolved, variants, findings)
    elif not call:
        _files(resolved, findings)
        findings.notes.append("not checked: whether the model's weights load, and whether it takes the samples")
    for kind, wanted in inputs.specs.items():
        if call or wanted.path:
            _samples(resolved, kind, task, findings)
        else:
            what = f"dataset {wanted.dataset}, is not loaded" if wanted.dataset else f"{wanted.factory}, is not called"
            findings.notes.append(f"not checked: the {kind} samples: {what}")
    for name, code in {} if call else resolved.recipe.custom_objects.items():
        findings.attempt(("custom_objects", name), partial(user_code.identity, code))
    return findings


def _files(resolved: ResolvedRecipe, findings: Findings) -> None:
    """Of a model that will be held in memory: what its files tell without being read whole."""
    if onnx := resolved.recipe.model.onnx:
        findings.attempt(("model",), partial(external_data, onnx))
        return
    folder = findings.attempt(("model",), resolved.inputs.model.folder)
    if folder is not None and not (folder / "config.json").is_file():
        told = f"{folder} is no model in hub format: it has no config.json"
        findings.problems.append(Problem(("model",), told))


def _checkpoint(resolved: ResolvedRecipe, variants: list[ResolvedVariant], findings: Findings) -> Task | None:
    """Of a model that stays on disk: its layers by its configuration, and what the task needs of it."""
    model = resolved.inputs.model
    folder = findings.attempt(("model",), partial(model.folder, weights=False))
    if folder is None:
        return None
    facts = findings.attempt(("model",), partial(checkpoint.inspect, folder, model.spec.trust_remote_code))
    if facts is not None:
        for variant in variants:
            told = variant.quantizer.preflight(facts, variant.options)
            label = f"variant {variant.name!r}"
            findings.problems += [Problem(variant.place, problem, label) for problem in told]
        _needs(facts, len(variants), findings)
    task = resolved.task.create(SourceModel(folder=folder), resolved.options, SampleSet([]))
    findings.attempt(("model",), task.check_files)
    return task


def _samples(resolved: ResolvedRecipe, kind: str, task: Task | None, findings: Findings) -> None:
    """They are read once; whether they are enough is asked of a task that knows without the model's weights."""
    samples = findings.attempt((kind,), partial(resolved.inputs.samples, kind))
    if samples is not None and task is not None and kind != "training":
        findings.attempt((kind,), partial(task.check_enough, kind, samples.inputs, resolved.recipe.calibration))


def _needs(facts: checkpoint.CheckpointFacts, variants: int, findings: Findings) -> None:
    """A plain estimate: the weights in 16 bit once to quantize, once for each engine that is compared; on disk every
    variant in the workspace, and the store's copy of it."""
    memory = int(2 * facts.size_bytes + HEADROOM)
    disk = int(facts.size_bytes * (1 + variants))
    findings.notes.append(
        f"{facts.parameters / 1e6:.0f} M parameters, {len(facts.linears)} linear layers: needs about "
        f"{memory / 1e9:.1f} GB of memory and at most {disk / 1e9:.1f} GB of disk"
    )
    if (total := machine.memory_bytes()) and memory > total:
        findings.say(f"quantizing needs about {memory / 1e9:.0f} GB of memory; this machine has {total / 1e9:.0f} GB")
    places = {shutil.disk_usage(p).free: p for p in (Path(tempfile.gettempdir()), store.models_folder())}
    free = min(places)
    if disk > free:
        findings.say(
            f"the variants need up to {disk / 1e9:.0f} GB of disk; {places[free]} has {free / 1e9:.0f} GB free. "
            "TMPDIR and BENTOML_HOME name other places"
        )
