"""What the quantizers for language model checkpoints share: choosing layers, checks before the work, counts after it.
A worker script does the work in a separate process, so its memory and settings end with it."""

from __future__ import annotations

import sys
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.inputs.checkpoint import FUSED, CheckpointFacts
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions, select
from quantbento.quantizers.llm import counted, eight_bit, experts, shapes, vision, written
from quantbento.quantizers.llm.fused import fused
from quantbento.quantizers.llm.schemes import SCHEMES, Scheme
from quantbento.runtimes.transformers import auto_class_of
from quantbento.runtimes.vllm_settings import runs_on_cpu

Int4 = Literal["W4A16", "W4A16_ASYM"]
LEAST_INPUTS = 256  # inputs of a small layer: with one scale per row, others need fewer bits per weight


class CheckpointOptions(QuantizerOptions):
    ignore: list[str] = Field(["lm_head"], description="fnmatch patterns of linear layers kept in 16 bit")
    vision: bool = Field(False, description="quantize a vision-language model's vision tower and projector too")


class GroupOptions(CheckpointOptions):
    scheme: str
    group_size: int = Field(128, ge=-1, description="input channels per scale; -1: one scale per row")
    eight_bit: list[str] = Field([], description="fnmatch patterns of linear layers in 8 bit (W8A8) instead")

    @model_validator(mode="after")
    def _fits_the_scheme(self) -> GroupOptions:
        if SCHEMES[self.scheme].group is not None and "group_size" in self.model_fields_set:
            raise ValueError(f"group_size goes with INT weights in groups; {self.scheme} has its own; leave it out")
        if self.eight_bit and self.scheme not in get_args(Int4):
            raise ValueError(f"eight_bit goes with the schemes {' and '.join(get_args(Int4))}, not with {self.scheme}")
        return self


class CheckpointQuantizer(Quantizer):
    """Has a worker script write a checkpoint for vLLM."""

    runtimes = ("vllm",)
    starts_from = ("checkpoint",)
    extra = "llm"
    devices = ("cpu", "cuda")
    keeps = "ignore"
    worker: ClassVar[Path]
    sees_all_experts: ClassVar[bool] = False  # whether experts are calibrated on tokens that are not theirs too
    requirements: ClassVar[Sequence[str]] = ()  # of the worker's own environment; if empty, it uses this one

    @classmethod
    def made_on_first_use(cls) -> str | None:
        return isolated.made_on_first_use(cls.requirements) if cls.requirements else None

    @abstractmethod
    def job(self, options: Any) -> dict[str, Any]:
        """The worker's job, without the keys that every worker gets."""

    def facts_of_scheme(self, options: Any) -> Scheme:
        return SCHEMES[self.scheme_of(options)]

    def group_size(self, options: Any) -> int:
        """Input channels that share a scale; -1: one scale per row."""
        fixed = self.facts_of_scheme(options).group
        return options.group_size if fixed is None else fixed

    def own_group_size(self, options: Any) -> int | None:
        """The recipe's `group_size`; None where the scheme has its own."""
        return options.group_size if self.facts_of_scheme(options).group is None else None

    def devices_of_result(self, runtime: Any, options: Any) -> tuple[str, ...]:
        return tuple(d for d in runtime.devices if d in self.facts_of_scheme(options).devices)

    def serving_needs(self, options: Any) -> str | None:
        return self.facts_of_scheme(options).needs()

    def serving_problem(self, options: Any) -> str | None:
        return self.facts_of_scheme(options).problem_here()

    def also_counted(self, options: Any, folder: Path) -> list[str]:
        """What else a written checkpoint holds, in one line each. Raises `QuantbentoError` where something lacks."""
        return []

    def preflight(self, model: CheckpointFacts, options: Any) -> list[str]:
        try:
            chosen, raised = chosen_and_raised(model, options)
        except QuantbentoError as error:
            return [str(error)]
        problems = _fused_problems(model, chosen) + experts.problems(model, chosen, raised, options)
        scheme, group = self.facts_of_scheme(options), self.group_size(options)
        if group != -1 or scheme.group is None:
            grouped = [name for name in chosen if name not in raised]
            problems += _mixed_problems(chosen, raised) + shapes.problems(model, grouped, scheme, group)
        return problems

    def unservable(self, model: CheckpointFacts, options: Any) -> list[str]:
        if not runs_on_cpu():
            return []
        try:
            chosen, raised = chosen_and_raised(model, options)
        except QuantbentoError:
            return []  # preflight says so
        problems = experts.unservable(chosen)
        if self.facts_of_scheme(options).name in get_args(Int4):
            grouped = [name for name in chosen if name not in raised]
            problems += shapes.cpu_problems(model, grouped, options.group_size)
        return problems

    def weight_bytes(self, model: CheckpointFacts, options: Any) -> int | None:
        try:
            chosen, raised = chosen_and_raised(model, options)
        except QuantbentoError:
            return None  # preflight says so
        bits = self.weight_bits(options)
        fewest, most = bits[min(bits)], bits[max(bits)]
        in_8 = set(raised)
        saved = sum(prod(model.linears[name]) * (16 - (most if name in in_8 else fewest)) for name in chosen)
        return model.size_bytes - int(saved / 8)

    def weight_bits(self, options: Any) -> dict[int, float]:
        scheme, group = self.facts_of_scheme(options), self.group_size(options)
        shared = (group if group > 0 else LEAST_INPUTS) * scheme.block
        found = {scheme.bits: scheme.bits + scheme.scale_bits / shared}
        can_raise = self.raises and scheme.name in get_args(Int4)
        return found | ({8: 8 + SCHEMES["W8A8"].scale_bits / LEAST_INPUTS} if can_raise else {})

    def layers(self, job: Job, options: Any) -> dict[str, int]:
        facts = facts_of(job)
        groups = fused(choose(facts, options))
        return {name: sum(prod(facts.linears[n]) for n in members) for name, members in groups.items()}

    def quantize(self, job: Job, options: Any, folder: Path) -> Quantized:
        facts = facts_of(job)
        chosen, raised = chosen_and_raised(facts, options)
        python = Path(sys.executable)
        if self.requirements:
            python = isolated.environment(self.requirements, job.progress.say)
        with tempfile.TemporaryDirectory(prefix="quantbento-") as temporary:
            calibration = None
            if self.data == "calibration":
                calibration = Path(temporary) / "calibration.npy"
                np.save(calibration, job.calibration)
            work = {
                "model": str(job.source.folder),
                "output": str(folder),
                "calibration": calibration and str(calibration),
                "ignore": sorted(facts.modules.get(n, n) for n in kept_names(facts, chosen) + raised),
                "auto_class": auto_class_of(facts.folder),
                **self.job(options),
            }
            with job.progress.stage(self.name) as advance:
                told = isolated.run(python, self.worker, work, lambda stage, done, total: advance(done, total))
        if note := told.get("rounded"):
            job.progress.say(f"{self.name}: {note}")
        written.finish(folder, facts, kept_names(facts, chosen) + raised)
        if raised:
            eight_bit.add(folder, raised)
        unseen = experts.in_checkpoint(facts, told["unseen"]) if calibration else []
        done = self.tally(facts, chosen, raised, options, folder)
        return replace(done, notes=[*done.notes, *experts.unseen_notes(unseen, self.sees_all_experts)])

    def tally(
        self, facts: CheckpointFacts, chosen: list[str], raised: list[str], options: Any, folder: Path
    ) -> Quantized:
        """What is in a written checkpoint: layers by scheme, and their tensors.

        Args:
            chosen: the layers that were to be quantized.
            raised: those of them in 8 bit.

        Raises:
            QuantbentoError: less is there than the schemes say.
        """
        done = count(facts, chosen, folder, self.scheme_of(options))
        alike = [name for name in chosen if name not in {*done.left_out, *raised}]
        tensors = counted.layers(facts, folder, alike, self.facts_of_scheme(options), self.group_size(options))
        (scheme, number), *others = done.counts.items()
        in_eight = {eight_bit.NAME: len(raised)} if raised else {}
        counts = {scheme: number - len(raised), **in_eight, **dict(others)}
        return replace(done, counts=counts, notes=[*done.notes, tensors, *self.also_counted(options, folder)])


def facts_of(job: Job) -> CheckpointFacts:
    assert job.source.folder is not None
    return checkpoint.inspect(job.source.folder, job.source.trust_remote_code)


def choose(model: CheckpointFacts, options: CheckpointOptions) -> list[str]:
    """The linear layers to quantize: without a vision tower and its projector, unless `vision` says so, and never a
    router. `lm_head` names the layer that gives the logits, whatever the checkpoint calls it.

    Raises:
        QuantbentoError: there are none, or a pattern matches nothing.
    """
    ignore = [model.head if pattern == "lm_head" and model.head else pattern for pattern in options.ignore]
    chosen = select(model.linears, ["*"], ignore, "linear layer")
    if not options.vision:
        vision = set(model.vision)
        chosen = [name for name in chosen if name not in vision]
    if not chosen:
        raise QuantbentoError(f"ignore leaves none of the {len(model.linears)} linear layers to quantize")
    return chosen


def chosen_and_raised(model: CheckpointFacts, options: CheckpointOptions) -> tuple[list[str], list[str]]:
    """The layers to quantize, and those of them in 8 bit instead of 4.

    Raises:
        QuantbentoError: as `choose` and `in_eight_bits`.
    """
    chosen = choose(model, options)
    return chosen, in_eight_bits(chosen, options)


def kept_names(model: CheckpointFacts, chosen: list[str]) -> list[str]:
    """The layers that stay in 16 bit, routers too."""
    return sorted({*model.linears, *model.routers} - set(chosen))


def in_eight_bits(chosen: list[str], options: CheckpointOptions) -> list[str]:
    """The chosen layers that get 8 bit instead of 4.

    Raises:
        QuantbentoError: a pattern matches none of them, or nothing is left in 4 bit.
    """
    patterns = getattr(options, "eight_bit", [])
    raised = select(chosen, patterns, [], "linear layer that is quantized")
    if len(raised) == len(chosen):
        raise QuantbentoError("eight_bit leaves no layer in 4 bit; smoothquant puts all layers into 8")
    return raised


def count(facts: CheckpointFacts, chosen: list[str], folder: Path, scheme: str) -> Quantized:
    """Counts what is quantized in the written checkpoint.

    Raises:
        QuantbentoError: nothing is quantized, or an expert is not.
    """
    done = checkpoint.quantized_bytes(folder, list(facts.linears))
    if not done:
        raise QuantbentoError(f"none of the {len(chosen)} chosen layers is quantized in what was written")
    experts.check_all(chosen, done)
    sizes = {name: out * inputs for name, (out, inputs) in facts.linears.items()}
    parameters = sum(sizes[name] for name in done)
    return Quantized(
        {},
        {f"{scheme} layers": len(done)} | experts.counted(done),
        quantized_parameters=parameters,
        parameters=facts.parameters,
        left_out=[name for name in chosen if name not in done],
        notes=[*experts.notes(facts, done), *vision.notes(facts, done)],
        weight_ratio=sum(done.values()) / (2 * parameters),
    )


def _fused_problems(model: CheckpointFacts, chosen: list[str]) -> list[str]:
    problems = []
    for members in FUSED:
        for name in model.linears:
            parent, _, own = name.rpartition(".")
            if own != members[0]:
                continue
            siblings = [n for n in (f"{parent}.{m}" for m in members) if n in model.linears]
            kept = [n for n in siblings if n not in chosen]
            if kept and len(kept) < len(siblings):
                problems.append(
                    f"ignore keeps {kept[0]!r} in 16 bit but not all of {', '.join(members)}: "
                    "vLLM runs them as one layer"
                )
    return problems[:1]


def _mixed_problems(chosen: list[str], raised: list[str]) -> list[str]:
    for name, members in fused(chosen).items():
        if 0 < len(part := [m for m in members if m in raised]) < len(members):
            return [f"eight_bit names {part[0]!r} alone, which vLLM runs as one layer with others: name {name!r}"]
    return []
