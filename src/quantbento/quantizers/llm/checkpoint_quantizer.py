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
from quantbento.quantizers.llm import counted, eight_bit, shapes
from quantbento.quantizers.llm.fused import fused
from quantbento.quantizers.llm.schemes import SCHEMES, Scheme
from quantbento.runtimes.vllm_settings import runs_on_cpu

Int4 = Literal["W4A16", "W4A16_ASYM"]
LEAST_INPUTS = 256  # inputs of a small layer: with one scale per row, others need fewer bits per weight


class CheckpointOptions(QuantizerOptions):
    ignore: list[str] = Field(["lm_head"], description="fnmatch patterns of linear layers kept in 16 bit")


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
        own = self.facts_of_scheme(options).group
        return options.group_size if own is None else own

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
            chosen = choose(model, options)
            raised = in_eight_bits(chosen, options)
        except QuantbentoError as error:
            return [str(error)]
        problems = _fused_problems(model, chosen)
        scheme, group = self.facts_of_scheme(options), self.group_size(options)
        if group != -1 or scheme.group is None:
            grouped = [name for name in chosen if name not in raised]
            problems += _mixed_problems(chosen, raised) + shapes.problems(model, grouped, scheme, group)
        return problems

    def unservable(self, model: CheckpointFacts, options: Any) -> list[str]:
        if self.facts_of_scheme(options).name not in get_args(Int4) or not runs_on_cpu():
            return []
        try:
            chosen = choose(model, options)
            raised = in_eight_bits(chosen, options)
        except QuantbentoError:
            return []  # preflight says so
        return shapes.cpu_problems(model, [name for name in chosen if name not in raised], options.group_size)

    def weight_bits(self, options: Any) -> dict[int, float]:
        scheme, group = self.facts_of_scheme(options), self.group_size(options)
        shared = (LEAST_INPUTS if group < 0 else group) * scheme.block
        found = {scheme.bits: scheme.bits + scheme.scale_bits / shared}
        can_raise = self.raises and scheme.name in get_args(Int4)
        return found | ({8: 8 + SCHEMES["W8A8"].scale_bits / LEAST_INPUTS} if can_raise else {})

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
        alike = [name for name in chosen if name not in {*done.left_out, *raised}]
        tensors = counted.layers(facts, folder, alike, self.facts_of_scheme(options), self.group_size(options))
        done = replace(done, notes=[tensors, *self.also_counted(options, folder)])
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
