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
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.inputs.checkpoint import FUSED, CheckpointFacts
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions, select
from quantbento.quantizers.llm import eight_bit, experts, vision, written
from quantbento.quantizers.llm.fused import fused
from quantbento.runtimes.transformers import auto_class_of
from quantbento.runtimes.vllm_settings import runs_on_cpu

Scheme = Literal["W4A16", "W4A16_ASYM"]
SCALE_BITS = 16
LEAST_INPUTS = 256  # inputs of a small layer: with one scale per row, others need fewer bits per weight
CPU_MULTIPLE = 32  # vLLM's 4-bit kernels for CPUs need both dimensions of a layer to be a multiple of it


class CheckpointOptions(QuantizerOptions):
    ignore: list[str] = Field(["lm_head"], description="fnmatch patterns of linear layers kept in 16 bit")
    vision: bool = Field(False, description="quantize a vision-language model's vision tower and projector too")


class GroupOptions(CheckpointOptions):
    group_size: int = Field(128, ge=-1, description="input channels per scale; -1: one scale per row")
    eight_bit: list[str] = Field([], description="fnmatch patterns of linear layers in 8 bit (W8A8) instead")


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

    def preflight(self, model: CheckpointFacts, options: Any) -> list[str]:
        try:
            chosen = choose(model, options)
            raised = in_eight_bits(chosen, options)
        except QuantbentoError as error:
            return [str(error)]
        problems = _fused_problems(model, chosen) + experts.problems(model, chosen, raised, options)
        problems += experts.unservable(chosen)
        if isinstance(options, GroupOptions):
            grouped = [name for name in chosen if name not in raised]
            problems += _mixed_problems(chosen, raised) + _shape_problems(model, grouped, options.group_size)
        return problems

    def weight_bits(self, options: Any) -> dict[int, float]:
        found = {8: 8 + SCALE_BITS / LEAST_INPUTS}
        if not isinstance(options, GroupOptions):
            return found
        zero_points = 4 if "ASYM" in self.scheme_of(options) else 0
        shared = LEAST_INPUTS if options.group_size < 0 else options.group_size
        return {4: 4 + (SCALE_BITS + zero_points) / shared} | (found if self.raises else {})

    def layers(self, job: Job, options: Any) -> dict[str, int]:
        facts = facts_of(job)
        groups = fused(choose(facts, options))
        return {name: sum(prod(facts.linears[n]) for n in members) for name, members in groups.items()}

    def quantize(self, job: Job, options: Any, folder: Path) -> Quantized:
        facts = facts_of(job)
        chosen = choose(facts, options)
        raised = in_eight_bits(chosen, options)
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
        done = count(facts, chosen, folder, self.scheme_of(options))
        unseen = experts.in_checkpoint(facts, told["unseen"]) if calibration else []
        done = replace(done, notes=[*done.notes, *experts.unseen_notes(unseen, self.sees_all_experts)])
        if raised:
            (scheme, number), *others = done.counts.items()
            done = replace(done, counts={scheme: number - len(raised), eight_bit.NAME: len(raised), **dict(others)})
        return done


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


def _shape_problems(model: CheckpointFacts, chosen: list[str], group_size: int) -> list[str]:
    """The layers that do not fit: one sentence per reason, which names the first such layer."""
    problems = []
    if group_size in (0, 1):
        problems.append(f"group_size {group_size} makes no groups; use a power of two, or -1 for one scale per row")
    elif group_size > 0:
        uneven = [n for n in chosen if model.linears[n][1] % group_size]
        if uneven:
            widths = sorted({model.linears[n][1] for n in uneven})
            problems.append(
                f"group_size {group_size} does not divide the {', '.join(map(str, widths))} inputs of {uneven[0]!r}"
                f"{_and_more(uneven)}; use {_divisor([model.linears[n][1] for n in chosen])}, or add them to ignore"
            )
        if runs_on_cpu() and group_size % 2:
            problems.append(f"group_size {group_size} is odd; vLLM's kernels for CPUs need an even one")
    if runs_on_cpu():
        odd = [n for n in chosen if any(d % CPU_MULTIPLE for d in model.linears[n])]
        if odd:
            out, inputs = model.linears[odd[0]]
            problems.append(
                f"vLLM's kernels for CPUs need dimensions divisible by {CPU_MULTIPLE}; {odd[0]!r}{_and_more(odd)} "
                f"is {out} x {inputs}. Add it to ignore, or serve on a GPU"
            )
    return problems


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _divisor(inputs: list[int]) -> int:
    """The largest common group size that divides them all; -1 if none does."""
    return next((g for g in (128, 64, 32, 16) if all(i % g == 0 for i in inputs)), -1)
