"""The full-precision models a variant is held against: the baseline, its bf16 form, and fp32 in other runtimes."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbento import artifact, benchmark
from quantbento.errors import QuantbentoError
from quantbento.evaluate import checked_rows, compare
from quantbento.metrics import sqnr_db
from quantbento.predictor import Predictor
from quantbento.quantizers.base import Job
from quantbento.recipe import Benchmark
from quantbento.report.progress import Progress
from quantbento.report.rows import ReferenceRow
from quantbento.source import external_data
from quantbento.tasks.base import Arrays

# Exported and original differ by float rounding only: 90 dB and more for sound exports, below 20 for broken ones.
SOUND_EXPORT_DB = 40.0
BF16 = "torch-bf16"


@dataclass
class Contenders:
    """Loaded full-precision models by name; `baseline` is the first."""

    predictors: dict[str, Predictor]
    folders: dict[str, Path]
    rows: Arrays
    metrics: dict[str, float]
    table: list[ReferenceRow]
    refused: dict[str, str]  # why there is no fp32 contender in a runtime, which its variants need

    @property
    def baseline(self) -> str:
        return next(iter(self.predictors))

    @property
    def size_bytes(self) -> int:
        return artifact.size_bytes(self.folders[self.baseline])

    def of_runtime(self, runtime: str) -> str:
        """The fp32 contender of a runtime."""
        return f"{runtime}-fp32" if f"{runtime}-fp32" in self.predictors else self.baseline

    def close(self) -> None:
        for predictor in self.predictors.values():
            predictor.close()


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
    folders: dict[str, Path] = {}
    predictors: dict[str, Predictor] = {}
    refused: dict[str, str] = {}
    metrics: dict[str, dict[str, float]] = {}
    rows: Arrays = {}
    for name, runtime, write in _writers(job, runtimes):
        folder = folders[name] = job.workspace / "contenders" / name
        folder.mkdir(parents=True)
        try:
            with progress.stage(f"{name}: write, reload and evaluate"):
                artifact.write(folder, job.task, runtime, write(folder), custom_objects)
                predictors[name] = artifact.load(folder, threads)
                own = checked_rows(predictors[name], job.samples, "the full-precision model")
                rows = rows or own
                metrics[name] = compare(job.task, rows, own, job.samples)
                if name.endswith("-fp32"):
                    _check_same(own, rows, name)
        except QuantbentoError as error:
            if not metrics:
                raise
            progress.say(f"{name}: left out: {error}")
            if name != BF16:
                refused[runtime] = str(error)
            for kept in (folders, predictors, metrics):
                kept.pop(name, None)
    first = next(iter(predictors))
    with progress.stage("measure full precision") as advance:
        timings = benchmark.measure(predictors, job.samples.inputs, settings, advance)
        few = job.samples.inputs[: settings.items]
        peaks = {
            name: benchmark.peak_memory_bytes(folder, few, threads) if settings.memory else None
            for name, folder in folders.items()
        }
    if note := benchmark.unsteady(timings):
        progress.say(note)
    sizes = {name: artifact.size_bytes(folder) for name, folder in folders.items()}
    table = [
        ReferenceRow(
            name=name,
            runtime=artifact.describe(folders[name])["runtime"],
            size_bytes=sizes[name],
            size_ratio=sizes[name] / sizes[first],
            metrics=metrics[name],
            **timings[name].report(),
            speedup=asdict(benchmark.speedup(timings[first], timings[name])),
            peak_memory_bytes=peaks[name],
        )
        for name in predictors
    ]
    return Contenders(predictors, folders, rows, metrics[first], table, refused)


Write = Callable[[Path], dict[str, Any]]  # writes a model into a folder and gives its runtime's configuration


def _writers(job: Job, runtimes: set[str]) -> Iterator[tuple[str, str, Write]]:
    """Name, runtime and writer of each, the baseline first."""
    if job.source.onnx:
        yield "onnx-fp32", "onnx", lambda folder: _copy_onnx(job, folder)
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


def _copy_onnx(job: Job, folder: Path) -> dict[str, Any]:
    import onnx

    from quantbento.onnx_export import fp32_onnx
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
            f"{name} does not compute what the original does: {db:.0f} dB apart, {SOUND_EXPORT_DB:.0f} needed. "
            "The export to ONNX is broken for this model; use variants of another runtime"
        )
