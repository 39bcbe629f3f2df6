"""What quantizing each layer of a variant alone costs.

1. the model, its task, and some of the samples
2. full precision, and the variant with all layers quantized
3. the inputs of layers, and what attention attends to
4. each layer alone; the file is written after each, and what an earlier run measured is not measured again
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from quantbento.core import machine
from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.core.progress import Progress, Silent
from quantbento.core.stage_cache import StageCache
from quantbento.inputs.job import Job
from quantbento.judging import canonical
from quantbento.judging.evaluate import compare
from quantbento.judging.references import in_order
from quantbento.judging.rows import make_output_folder
from quantbento.making import cache, pipeline, plan
from quantbento.making.placement import choose_device
from quantbento.making.resolve import ResolvedVariant
from quantbento.making.sensitivity.engines import CALIBRATION_BATCHES, Engine, engine_of
from quantbento.making.sensitivity.names import Names
from quantbento.making.sensitivity.probes import attention, outliers
from quantbento.making.sensitivity.rows import LayerCost, Sensitivity, place
from quantbento.tasks.base import Arrays
from quantbento.tasks.metrics import output_metrics
from quantbento.tasks.source import SampleSet

SAMPLES = 64
SEQUENCES = 8 * CALIBRATION_BATCHES
SPEAK = 15.0  # seconds between two lines that say how long it will take
STAGE = "sensitivity"


@dataclass
class _Run:
    """What all layers share. `rows` are full precision's."""

    measuring: Engine
    job: Job
    samples: SampleSet
    found: Sensitivity
    kept: StageCache
    depends: dict[str, Any]
    rows: Arrays = field(default_factory=dict)

    def cost(self, kept: Sequence[str]) -> dict[str, Any]:
        """`sqnr_db`, `metrics` and `drop` of the model with all layers quantized but for some; `error` where that
        cannot be. From an earlier run where it measured the same."""
        depends = self.depends | {"kept": sorted(kept)}
        if (earlier := self.kept.restore(STAGE, depends)) is not None:
            return earlier
        try:
            own = self.measuring.rows(kept)
            metrics = compare(self.job.task, self.rows, own, self.samples)
        except QuantbentoError as error:
            return {"sqnr_db": None, "metrics": {}, "drop": None, "error": str(error)}
        better = self.job.task.metrics[self.found.metric].better
        worse = (self.found.baseline[self.found.metric] - metrics[self.found.metric]) * better
        cost = {"sqnr_db": _sqnr(self.rows, own), "metrics": _finite(metrics), "drop": _finite({"": worse}).get("")}
        self.kept.keep(STAGE, depends, cost)
        return cost


def sensitivity(
    recipe: str | Path | dict[str, Any],
    variant: str,
    *,
    samples: int = SAMPLES,
    layers: str = "*",
    metric: str | None = None,
    output: str | Path = "reports",
    progress: Progress | None = None,
) -> tuple[Sensitivity, Path]:
    """Measures each layer of a variant, and writes `<output>/<recipe>/sensitivity-<variant>.json`.

    Args:
        recipe: as for `quantbento.save`.
        variant: the name of one of its variants.
        samples: how many evaluation samples, or windows of tokens, are used; fewer where there are fewer.
        layers: an fnmatch pattern of layers to measure, by the quantizer's name or the module's.
        metric: the metric that layers are sorted by; the task's first that is measured by default.

    Returns:
        What was found, and the file.

    Raises:
        RecipeError: with everything that is wrong with the recipe.
        QuantbentoError: the variant's quantizer cannot keep single layers, or an argument is wrong.
    """
    progress = progress or Silent()
    with progress.stage("plan"):
        planned = plan.make(recipe, [variant], True)
        (resolved,) = planned.resolved.variants
        _check(resolved, planned.resolved.task, samples, metric)
        make_output_folder(Path(output) / planned.recipe.name)
    with tempfile.TemporaryDirectory(prefix="quantbento-") as workspace:
        run = _prepare(planned, resolved, samples, metric, Path(workspace), progress)
        return _measure(run, layers, Path(output), progress)


def _check(variant: ResolvedVariant, task: Any, samples: int, metric: str | None) -> None:
    problems = []
    if variant.quantizer.data == "training":
        problems.append(
            f"{variant.quantizer.name} trains, which every layer would need again; name a variant by torch-static"
        )
    elif variant.quantizer.keeps is None:
        problems.append(f"{variant.quantizer.name} cannot keep single layers in full precision")
    if samples < 1:
        problems.append(f"--samples {samples} is too few; take 1 or more")
    if metric is not None and metric not in task.metrics:
        known = f"; {task.name} has {one_of(task.metrics)}"
        problems.append(f"--metric {metric!r} is unknown{did_you_mean(metric, task.metrics)}{known}")
    if problems:
        raise QuantbentoError("; ".join(problems))


def _prepare(
    planned: plan.Plan,
    variant: ResolvedVariant,
    samples: int,
    metric: str | None,
    workspace: Path,
    progress: Progress,
) -> _Run:
    threads = planned.recipe.benchmark.threads or machine.default_threads()
    with progress.stage("load model and samples"):
        job, given = pipeline.load(planned.resolved, workspace, progress)
    device = choose_device(planned.recipe.benchmark.device, [variant], in_order(job, [variant.runtime])[0])
    kept = cache.stages(planned, job.source, device, threads, False, progress)
    job, given, count = _some(job, given, samples)
    quantizer = variant.quantizer
    if "onnx" in quantizer.starts_from:
        with progress.stage("compare the canonical graph with the model's"):
            canonical.prove(job, given, threads)
    measuring = engine_of(variant)(job, variant, given, threads, device)
    with progress.stage("full precision"):
        rows = measuring.full_precision()
    baseline = _finite(compare(job.task, rows, rows, given))
    found = Sensitivity(
        planned.recipe.name,
        variant.name,
        quantizer.name,
        _metric(metric, baseline, job.task),
        measuring.runtime,
        measuring.measured,
        count,
        baseline,
    )
    depends = cache.depends_on(variant) | {"samples": count, "how": measuring.measured}
    return _Run(measuring, job, given, found, kept, depends | {"metric": found.metric}, rows)


def _some(job: Job, samples: SampleSet, count: int) -> tuple[Job, SampleSet, int]:
    """The job with some of its calibration samples, some of the samples to compare, and how many these are."""
    if job.task.contract == "tokens":
        options = job.task.options
        count = min(count, options.windows)
        job.task.options = options.model_copy(update={"windows": count})
        few = None if job.calibration is None else job.calibration[:SEQUENCES]
        return replace(job, calibration=few), samples, count
    labels = samples.labels and samples.labels[:count]
    few = None if job.calibration is None else job.calibration[:CALIBRATION_BATCHES]
    some = SampleSet(samples.inputs[:count], labels)
    return replace(job, calibration=few), some, len(some.inputs)


def _measure(run: _Run, pattern: str, output: Path, progress: Progress) -> tuple[Sensitivity, Path]:
    found, job = run.found, run.job
    with progress.stage("find layers"):
        sizes, names = run.measuring.layers(), Names(job)
    if not sizes:
        raise QuantbentoError(f"{found.quantizer} cannot tell this model's layers apart")
    every = [_layer(name, order, count, names) for order, (name, count) in enumerate(sizes.items())]
    chosen = [layer for layer in every if fnmatchcase(layer.name, pattern) or fnmatchcase(layer.module, pattern)]
    if not chosen:
        some = ", ".join(layer.module for layer in every[:3])
        raise QuantbentoError(f"--layers {pattern!r} matches none of the {len(every)} layers, such as {some}")
    with progress.stage("all layers"):
        found.whole = run.cost([])
    with progress.stage("inputs of layers"):
        seen, note = outliers(job, run.samples, chosen, names)
        for layer in chosen:
            layer.activation = seen.get(layer.name)
    with progress.stage("attention"):
        found.attention, another = attention(run.measuring, job, run.samples)
    found.notes = [told for told in (note, another) if told]
    with progress.stage(f"{found.variant}: each of {len(chosen)} layers alone") as advance:
        clock = _Clock(progress, len(chosen))
        for number, layer in enumerate(chosen):
            cost = run.cost([name for name in sizes if name != layer.name])
            found.layers.append(replace(layer, **cost))
            found.complete = len(found.layers) == len(every)
            path = found.write(output)
            advance(number + 1, len(chosen))
            clock.tell(layer.module, number + 1)
    return found, path


def _layer(name: str, order: int, count: int, names: Names) -> LayerCost:
    module = names.readable(name)
    return LayerCost(name, module, order, *place(module), count)


class _Clock:
    """Says now and then how long the rest will take."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.start = progress, total, time.monotonic()
        self.last = self.start

    def tell(self, layer: str, done: int) -> None:
        now = time.monotonic()
        if now - self.last >= SPEAK and done < self.total:
            left = (now - self.start) / done * (self.total - done)
            self.progress.say(f"{done} of {self.total} layers, the last was {layer}; about {left:.0f} s left")
            self.last = now


def _metric(wanted: str | None, measured: dict[str, float], task: Any) -> str:
    if wanted is None:
        return next((name for name in task.primary if name in measured), next(iter(measured)))
    if wanted not in measured:
        raise QuantbentoError(f"--metric {wanted!r} is not measured on these samples; there is {one_of(measured)}")
    return wanted


def _sqnr(expected: Arrays, found: Arrays) -> float | None:
    """Of all numbers of the float outputs; of a language model, the log-probabilities of the texts' own tokens."""
    names = ["token_logprobs"] if "token_logprobs" in expected else list(expected)
    return output_metrics({n: expected[n] for n in names}, {n: found[n] for n in names}).get("sqnr_db")


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
