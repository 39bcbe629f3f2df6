"""What the quantizers for language model checkpoints share: choosing layers, checks before the work, counts after it.
A worker script does the work in a separate process, so its memory and settings end with it."""

from __future__ import annotations

import sys
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.inputs.checkpoint import FUSED, CheckpointFacts
from quantbento.inputs.job import Job
from quantbento.quantizers import isolated
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions, select
from quantbento.runtimes.vllm_settings import runs_on_cpu

Scheme = Literal["W4A16", "W4A16_ASYM"]
CPU_MULTIPLE = 32  # vLLM's 4-bit kernels for CPUs need both dimensions of a layer to be a multiple of it


class CheckpointOptions(QuantizerOptions):
    ignore: list[str] = Field(["lm_head"], description="fnmatch patterns of linear layers kept in 16 bit")


class GroupOptions(CheckpointOptions):
    group_size: int = Field(128, ge=-1, description="input channels per scale; -1: one scale per row")


class CheckpointQuantizer(Quantizer):
    """Has a worker script write a checkpoint for vLLM."""

    runtimes = ("vllm",)
    starts_from = ("checkpoint",)
    extra = "llm"
    devices = ("cpu", "cuda")
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
        except QuantbentoError as error:
            return [str(error)]
        grouped = isinstance(options, GroupOptions)
        return _fused_problems(model, chosen) + (_shape_problems(model, chosen, options.group_size) if grouped else [])

    def quantize(self, job: Job, options: Any, folder: Path) -> Quantized:
        assert job.source.folder is not None
        facts = checkpoint.inspect(job.source.folder, job.source.trust_remote_code)
        chosen = choose(facts, options)
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
                "ignore": sorted(facts.linears.keys() - set(chosen)),
                **self.job(options),
            }
            with job.progress.stage(self.name) as advance:
                told = isolated.run(python, self.worker, work, lambda stage, done, total: advance(done, total))
        if note := told.get("rounded"):
            job.progress.say(f"{self.name}: {note}")
        return count(facts, chosen, folder, self.scheme_of(options))


def choose(model: CheckpointFacts, options: CheckpointOptions) -> list[str]:
    """The linear layers to quantize. Raises `QuantbentoError` if there are none, or if a pattern matches nothing."""
    chosen = select(model.linears, ["*"], options.ignore, "linear layer")
    if not chosen:
        raise QuantbentoError(f"ignore leaves none of the {len(model.linears)} linear layers to quantize")
    return chosen


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
