"""The full-precision models a variant is held against: the baseline, its bf16 form, and fp32 in other runtimes."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core.errors import QuantbentoError
from quantbento.core.files import link_checkpoint
from quantbento.core.progress import Advance, Progress
from quantbento.inputs.source import external_data
from quantbento.judging import benchmark
from quantbento.judging.evaluate import checked_rows, compare
from quantbento.judging.rows import ReferenceRow
from quantbento.quantizers.base import Job
from quantbento.recipe import Benchmark
from quantbento.runtimes import artifact
from quantbento.runtimes.artifact import Loaded
from quantbento.tasks.base import Arrays
from quantbento.tasks.metrics import sqnr_db

# Exported and original differ by float rounding only: 90 dB and more for sound exports, below 20 for broken ones.
SOUND_EXPORT_DB = 40.0
BF16 = "torch-bf16"
SHORT = {"bfloat16": "bf16", "float16": "fp16"}


@dataclass
class Contender:
    """One full-precision model. `predictor` is closed when `benchmark.paired` is false; `timing` stays."""

    name: str
    folder: Path
    predictor: Loaded
    metrics: dict[str, float]
    timing: benchmark.Timing | None = None
    peak_memory_bytes: int | None = None

    @property
    def runtime(self) -> str:
        return self.predictor.runtime.name

    @property
    def size_bytes(self) -> int:
        return artifact.size_bytes(self.folder)


@dataclass
class Contenders:
    """All of them, the baseline first, with the baseline's rows."""

    all: list[Contender]
    rows: Arrays
    refused: dict[str, str]  # why there is no full-precision contender in a runtime, which its variants need
    settings: Benchmark

    @property
    def baseline(self) -> Contender:
        return self.all[0]

    def of_runtime(self, runtime: str) -> Contender:
        """The full-precision contender of a runtime."""
        return next((c for c in self.all if c.runtime == runtime), self.baseline)

    def measure(self, name: str, predictor: Loaded, inputs: list[Any], advance: Advance) -> dict[str, benchmark.Timing]:
        """The timings of a variant, by name, with those of the baseline and of full precision in its own runtime: in
        rounds together, or, where two models do not fit into memory, those measured before."""
        others = {c.name: c for c in (self.baseline, self.of_runtime(predictor.runtime.name))}
        beside = {n: c.predictor for n, c in others.items()} if self.settings.paired else {}
        timings = benchmark.measure({**beside, name: predictor}, inputs, self.settings, advance)
        return {n: c.timing for n, c in others.items() if c.timing} | timings

    def table(self) -> list[ReferenceRow]:
        base = self.baseline
        return [
            ReferenceRow(
                name=c.name,
                runtime=c.runtime,
                size_bytes=c.size_bytes,
                size_ratio=c.size_bytes / base.size_bytes,
                metrics=c.metrics,
                **c.timing.report(),
                speedup=asdict(benchmark.speedup(base.timing, c.timing)),
                peak_memory_bytes=c.peak_memory_bytes,
            )
            for c in self.all
            if c.timing and base.timing
        ]

    def close(self) -> None:
        for contender in self.all:
            contender.predictor.close()


def prepare(
    job: Job,
    runtimes: set[str],
    custom_objects: dict[str, Any],
    settings: Benchmark,
    threads: int,
    progress: Progress,
) -> Contenders:
    """Writes, reloads, checks and measures them all, in rounds with each other.

    The baseline has to work. Another one that does not is left out with a line: nobody asked for bf16, and variants
    of a runtime the model cannot be exported to are refused one by one.
    """
    done = Contenders([], {}, {}, settings)
    inputs = job.samples.inputs

    def measure(contenders: list[Contender]) -> None:
        with progress.stage(f"measure {', '.join(c.name for c in contenders)}") as advance:
            timings = benchmark.measure({c.name: c.predictor for c in contenders}, inputs, settings, advance)
            for c in contenders:
                c.timing = timings[c.name]
                if settings.memory:
                    few = inputs[: settings.items]
                    c.peak_memory_bytes = benchmark.peak_memory_bytes(c.predictor, c.folder, few, threads)
        if note := benchmark.unsteady(timings):
            progress.say(note)

    try:
        for name, runtime, write in _writers(job, runtimes):
            folder = job.workspace / "contenders" / name
            folder.mkdir(parents=True)
            predictor = None
            try:
                with progress.stage(f"{name}: write, reload and evaluate"):
                    artifact.write(folder, job.task, runtime, write(folder), custom_objects)
                    predictor = artifact.load(folder, threads)
                    own = checked_rows(predictor, job.samples, "the full-precision model")
                    done.rows = done.rows or own
                    metrics = compare(job.task, done.rows, own, job.samples)
                    if name.endswith("-fp32"):
                        _check_same(own, done.rows, name)
            except QuantbentoError as error:
                if predictor:
                    predictor.close()
                if not done.all:
                    raise
                progress.say(f"{name}: left out: {error}")
                if name != BF16:
                    done.refused[runtime] = str(error)
                continue
            done.all.append(Contender(name, folder, predictor, metrics))
            if not settings.paired:
                measure(done.all[-1:])
                predictor.close()
        if settings.paired:
            measure(done.all)
    except BaseException:
        done.close()
        raise
    return done


Write = Callable[[Path], dict[str, Any]]  # writes a model into a folder and gives its runtime's configuration


def _writers(job: Job, runtimes: set[str]) -> Iterator[tuple[str, str, Write]]:
    """Name, runtime and writer of each, the baseline first."""
    if job.source.onnx:
        yield "onnx-fp32", "onnx", lambda folder: _copy_onnx(job, folder)
        return
    if job.source.dtype:
        for runtime in (r for r in job.task.runtimes if r in runtimes):
            yield f"{runtime}-{SHORT[job.source.dtype]}", runtime, lambda folder: _link_checkpoint(job, folder)
        return
    yield "torch-fp32", "torch", lambda folder: _save_torch(job, folder, None)
    yield BF16, "torch", lambda folder: _save_torch(job, folder, "bfloat16")
    if "onnx" in runtimes:
        yield "onnx-fp32", "onnx", lambda folder: _copy_onnx(job, folder)


def _save_torch(job: Job, folder: Path, dtype: str | None) -> dict[str, Any]:
    import torch

    from quantbento.runtimes import torch as runtime

    module = job.source.module
    assert module is not None
    if dtype:
        module = copy.deepcopy(module).to(getattr(torch, dtype))
    runtime.save(module, folder)
    return {"output_names": job.task.output_names} | ({"dtype": dtype} if dtype else {})


def _link_checkpoint(job: Job, folder: Path) -> dict[str, Any]:
    assert job.source.folder is not None
    link_checkpoint(job.source.folder, folder)
    return {}


def _copy_onnx(job: Job, folder: Path) -> dict[str, Any]:
    import onnx

    from quantbento.inputs.onnx_export import fp32_onnx
    from quantbento.runtimes.onnx import MODEL

    model = fp32_onnx(job)
    if external_data(model):
        # The graph names the file beside it: under another name, it would not be found.
        onnx.save(onnx.load(model), folder / MODEL, save_as_external_data=True, location=f"{MODEL}.data")
    else:
        shutil.copyfile(model, folder / MODEL)
    return {}


def _check_same(own: Arrays, rows: Arrays, name: str) -> None:
    """An export that computes something else would make every variant of it look badly quantized."""
    flat = [np.concatenate([r[k].ravel() for k in rows]) for r in (rows, own)]
    if (db := sqnr_db(*flat)) < SOUND_EXPORT_DB:
        raise QuantbentoError(
            f"{name} does not compute what the original does: {round(db)} dB apart, {SOUND_EXPORT_DB:.0f} needed. "
            "The export to ONNX is broken for this model; use variants of another runtime"
        )
