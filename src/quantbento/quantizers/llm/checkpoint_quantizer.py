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
from quantbento.quantizers.llm import eight_bit
from quantbento.quantizers.llm.fused import fused
from quantbento.runtimes.vllm_settings import runs_on_cpu

Scheme = Literal["W4A16", "W4A16_ASYM"]
SCALE_BITS = 16
LEAST_INPUTS = 256  # inputs of a small layer: with one scale per row, others need fewer bits per weight
CPU_MULTIPLE = 32  # vLLM's 4-bit kernels for CPUs need both dimensions of a layer to be a multiple of it


class CheckpointOptions(QuantizerOptions):
    ignore: list[str] = Field(["lm_head"], description="fnmatch patterns of linear layers kept in 16 bit")


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
        problems = _fused_problems(model, chosen)
        if isinstance(options, GroupOptions):
            grouped = [name for name in chosen if name not in raised]
            problems += _mixed_problems(chosen, raised) + _shape_problems(model, grouped, options.group_size)
        return problems

    def unservable(self, model: CheckpointFacts, options: Any) -> list[str]:
        if not isinstance(options, GroupOptions) or not runs_on_cpu():
            return []
        try:
            chosen = choose(model, options)
            raised = in_eight_bits(chosen, options)
        except QuantbentoError:
            return []  # preflight says so
        return _cpu_problems(model, [name for name in chosen if name not in raised], options.group_size)

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
                "ignore": sorted(facts.linears.keys() - set(chosen) | set(raised)),
                **self.job(options),
            }
            with job.progress.stage(self.name) as advance:
                told = isolated.run(python, self.worker, work, lambda stage, done, total: advance(done, total))
        if note := told.get("rounded"):
            job.progress.say(f"{self.name}: {note}")
        if raised:
            eight_bit.add(folder, raised)
        done = count(facts, chosen, folder, self.scheme_of(options))
        if raised:
            (scheme, number), *_ = done.counts.items()
            done = replace(done, counts={scheme: number - len(raised), eight_bit.NAME: len(raised)})
        return done


def facts_of(job: Job) -> CheckpointFacts:
    assert job.source.folder is not None
    return checkpoint.inspect(job.source.folder, job.source.trust_remote_code)


def choose(model: CheckpointFacts, options: CheckpointOptions) -> list[str]:
    """The linear layers to quantize. Raises `QuantbentoError` if there are none, or if a pattern matches nothing."""
    chosen = select(model.linears, ["*"], options.ignore, "linear layer")
    if not chosen:
        raise QuantbentoError(f"ignore leaves none of the {len(model.linears)} linear layers to quantize")
    return chosen


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
        QuantbentoError: nothing is quantized.
    """
    done = checkpoint.quantized_bytes(folder, list(facts.linears))
    if not done:
        raise QuantbentoError(f"none of the {len(chosen)} chosen layers is quantized in what was written")
    sizes = {name: out * inputs for name, (out, inputs) in facts.linears.items()}
    parameters = sum(sizes[name] for name in done)
    return Quantized(
        {},
        {f"{scheme} layers": len(done)},
        quantized_parameters=parameters,
        parameters=facts.parameters,
        left_out=[name for name in chosen if name not in done],
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
    return problems


def _cpu_problems(model: CheckpointFacts, chosen: list[str], group_size: int) -> list[str]:
    """What vLLM's kernels for CPUs do not take."""
    problems = []
    if group_size > 1 and group_size % 2:
        problems.append(f"group_size {group_size} is odd; vLLM's kernels for CPUs need an even one")
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
