"""The full-precision models a variant is held against: the baseline, its bf16 form, and fp32 in other runtimes."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbento import artifact, benchmark
from quantbento.errors import QuantbentoError
from quantbento.evaluate import baseline_rows, evaluate
from quantbento.metrics import sqnr_db
from quantbento.predictor import Predictor
from quantbento.quantizers.base import Job
from quantbento.recipe import Benchmark
from quantbento.report.progress import Progress
from quantbento.report.rows import ReferenceRow
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
    """Writes, reloads, checks and measures them all, in rounds with each other."""
    folders, predictors = {}, {}
    for name, write in _writers(job, runtimes):
        with progress.stage(f"{name}: write and reload"):
            folder = job.workspace / "contenders" / name
            folder.mkdir(parents=True)
            runtime, config = write(folder)
            artifact.write(folder, job.task, runtime, config, custom_objects)
            folders[name], predictors[name] = folder, artifact.load(folder, threads)
    first = next(iter(predictors))
    with progress.stage("evaluate full precision"):
        rows = baseline_rows(predictors[first], job.samples)
        metrics = {}
        for name in list(predictors):
            try:
                metrics[name] = evaluate(predictors[name], rows, job.samples)
            except QuantbentoError as error:
                if name != BF16:
                    raise
                progress.say(f"{name}: left out: {error}")  # nobody asked for it, and not every model can
                predictors.pop(name).close()
                folders.pop(name)
        _check_exports(predictors, rows, job)
    with progress.stage("measure full precision") as advance:
        timings = benchmark.measure(predictors, job.samples.inputs, settings, advance)
        few = job.samples.inputs[: settings.items]
        peaks = {
            name: benchmark.peak_memory_bytes(folder, few, threads) if settings.memory else None
            for name, folder in folders.items()
        }
    size = artifact.size_bytes(folders[first])
    table = [
        ReferenceRow(
            name=name,
            runtime=artifact.describe(folders[name])["runtime"],
            size_bytes=artifact.size_bytes(folders[name]),
            size_ratio=artifact.size_bytes(folders[name]) / size,
            metrics=metrics[name],
            **timings[name].report(),
            speedup=benchmark.as_dict(benchmark.speedup(timings[first], timings[name])),
            peak_memory_bytes=peaks[name],
        )
        for name in predictors
    ]
    return Contenders(predictors, folders, rows, metrics[first], table)


Write = Callable[[Path], tuple[str, dict[str, Any]]]  # writes a model into a folder: its runtime and settings


def _writers(job: Job, runtimes: set[str]) -> Iterator[tuple[str, Write]]:
    if job.source.onnx:
        yield "onnx-fp32", lambda folder: _copy_onnx(job, folder)
        return
    yield "torch-fp32", lambda folder: _save_torch(job, folder, None)
    yield BF16, lambda folder: _save_torch(job, folder, "bfloat16")
    if "onnx" in runtimes:
        yield "onnx-fp32", lambda folder: _copy_onnx(job, folder)


def _save_torch(job: Job, folder: Path, dtype: str | None) -> tuple[str, dict[str, Any]]:
    import torch

    from quantbento.runtimes import torch as runtime

    module = job.source.module
    assert module is not None
    if dtype:
        module = copy.deepcopy(module).to(getattr(torch, dtype))
    runtime.save(module, folder)
    return "torch", {"output_names": job.task.output_names} | ({"dtype": dtype} if dtype else {})


def _copy_onnx(job: Job, folder: Path) -> tuple[str, dict[str, Any]]:
    import onnx
    from onnx.external_data_helper import uses_external_data

    from quantbento.onnx_export import fp32_onnx
    from quantbento.runtimes.onnx import MODEL

    model = fp32_onnx(job)
    if any(uses_external_data(t) for t in onnx.load(model, load_external_data=False).graph.initializer):
        # The graph names the file beside it: under another name, it would not be found.
        onnx.save(onnx.load(model), folder / MODEL, save_as_external_data=True, location=f"{MODEL}.data")
    else:
        shutil.copyfile(model, folder / MODEL)
    return "onnx", {}


def _check_exports(predictors: dict[str, Predictor], rows: Arrays, job: Job) -> None:
    """An export that computes something else would make every variant of it look badly quantized."""
    for name, predictor in predictors.items():
        if name.endswith("-fp32"):
            own = predictor.rows(job.samples.inputs)
            flat = [np.concatenate([r[k].ravel() for k in rows]) for r in (rows, own)]
            if (db := sqnr_db(*flat)) < SOUND_EXPORT_DB:
                raise QuantbentoError(
                    f"{name} does not compute what the original does: {db:.0f} dB apart, {SOUND_EXPORT_DB:.0f} needed. "
                    "The export to ONNX is broken for this model; use variants of another runtime"
                )
