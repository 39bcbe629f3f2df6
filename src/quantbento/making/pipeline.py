"""The road from a recipe to stored variants:

1. plan: what is wrong or missing, what is stored already
2. load the source model, its task and the samples
3. write, reload and measure the full-precision contenders
4. for each variant: quantize, reload from disk in its serving runtime, evaluate, measure, hold against its gates,
   and store it if it passed

Each variant is stored as soon as it has passed, so that a run that is interrupted loses one variant at most.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core import machine, registry, user_code
from quantbento.core.cores import default_threads
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.core.progress import Progress, Silent
from quantbento.inputs.samples import SampleSet, load_samples
from quantbento.inputs.source import load_source
from quantbento.judging import benchmark
from quantbento.judging.evaluate import evaluate, recovery
from quantbento.judging.gates import judge
from quantbento.judging.references import Contenders, prepare
from quantbento.judging.rows import ReferenceRow, Report, VariantRow, make_output_folder
from quantbento.making import plan
from quantbento.quantizers.base import Job
from quantbento.recipe import Recipe, Variant
from quantbento.runtimes import artifact

EXAMPLES = 4  # checked inputs a quantizer may trace or export with


def save(
    recipe: str | Path | dict[str, Any] | Recipe,
    *,
    variants: list[str] | None = None,
    output: str | Path = "reports",
    force: bool = False,
    keep_failed: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Makes, judges and stores the variants of a recipe.

    Args:
        recipe: a YAML file, a mapping of the same shape, or a `Recipe`.
        variants: names of those to make; all by default.
        output: where `<recipe>/report.json` is written.
        force: make also what is stored already.
        keep_failed: store variants that failed a gate, labelled `passed: false`.

    Returns:
        The report; `report.exit_code` is 0, 1 (a gate failed) or 2 (a variant could not be made).

    Raises:
        RecipeError: with everything that is wrong with the recipe.
        QuantbentoError: the model or the samples cannot be used.
    """
    progress = progress or Silent()
    with progress.stage("plan"):
        planned = plan.make(recipe, variants, force)
        make_output_folder(Path(output) / planned.recipe.name)
    report = Report(planned.recipe.name, planned.recipe.task)
    task = registry.task(planned.recipe.task)
    report.primary, report.throughput_unit = task.primary, task.throughput_unit
    for name, model in planned.reusable.items():
        _reuse(report, model)
        progress.say(f"{name}: unchanged, reusing {model.tag}")
    for note in planned.notes:
        progress.say(note)
    if planned.pending:
        with tempfile.TemporaryDirectory(prefix="quantbento-") as workspace:
            _Run(planned, report, Path(workspace), Path(output), keep_failed, progress).make_all()
    report.write(Path(output))
    return report


class _Run:
    """One run over the variants that are not stored yet."""

    def __init__(
        self,
        planned: plan.Plan,
        report: Report,
        workspace: Path,
        output: Path,
        keep_failed: bool,
        progress: Progress,
    ) -> None:
        self.plan, self.recipe, self.report = planned, planned.recipe, report
        self.workspace, self.output = workspace, output
        self.keep_failed, self.progress = keep_failed, progress
        self.threads = self.recipe.benchmark.threads or default_threads()

    def make_all(self) -> None:
        job, custom_objects = self._load()
        runtimes = {self._runtime(v) for v in self.plan.pending}
        settings = self.recipe.benchmark
        contenders = prepare(job, runtimes, custom_objects, settings, self.threads, self.progress)
        self.report.baseline, *self.report.references = contenders.table()
        self.report.environment = machine.describe(self.threads)
        try:
            for variant in self.plan.pending:
                self.report.variants.append(self._make(variant, job, contenders, custom_objects))
                self._in_recipe_order()
                self.report.write(self.output)
        finally:
            contenders.close()

    def _load(self) -> tuple[Job, dict[str, Any]]:
        recipe = self.recipe
        with self.progress.stage("load model and samples"):
            custom_objects = {name: user_code.resolve(ref) for name, ref in recipe.custom_objects.items()}
            samples = load_samples(recipe.evaluation)
            source = load_source(recipe.model, recipe.task, self.workspace)
            task = registry.task(recipe.task)
            options = task.Options.model_validate(recipe.task_options)
            preprocess = custom_objects.get("preprocess", lambda item: item)
            few = [preprocess(item) for item in samples.inputs[:EXAMPLES]]
            task = task.create(source, options, SampleSet(few, samples.labels))
            examples = [task.check(item) for item in few]
            calibration = None
            if wanted := recipe.calibration:
                texts = [preprocess(item) for item in load_samples(wanted).inputs]
                calibration = task.sequences(texts, wanted.sequence_length, wanted.sequences, "calibration")
        return Job(source, task, samples, examples, self.workspace, calibration, self.progress), custom_objects

    def _runtime(self, variant: Variant) -> str:
        runtime = registry.runtime_of(registry.quantizer(variant.quantizer), registry.task(self.recipe.task))
        assert runtime is not None  # or the recipe would have been refused
        return runtime

    def _make(self, variant: Variant, job: Job, contenders: Contenders, custom_objects: dict[str, Any]) -> VariantRow:
        quantizer = registry.quantizer(variant.quantizer)()
        scheme = quantizer.scheme_of(quantizer.Options.model_validate(variant.options))
        row = VariantRow(variant.name, quantizer.name, scheme, variant.options, self._runtime(variant))
        folder = self.workspace / "variants" / variant.name
        folder.mkdir(parents=True)
        try:
            if reason := contenders.refused.get(row.runtime):
                raise QuantbentoError(reason)
            self._quantize(row, quantizer, job, folder, custom_objects)
            self._judge(row, variant, job, contenders, folder)
            if row.passed or self.keep_failed:
                with self.progress.stage(f"{variant.name}: store"):
                    row.tag = self._store(row, variant, contenders, folder).tag
        except QuantbentoError as error:
            row.error = str(error)
        return row

    def _quantize(
        self, row: VariantRow, quantizer: Any, job: Job, folder: Path, custom_objects: dict[str, Any]
    ) -> None:
        options = quantizer.Options.model_validate(row.options)
        start = time.perf_counter()
        with self.progress.stage(f"{row.name}: quantize"):
            done = quantizer.quantize(job, options, folder)
            artifact.write(folder, job.task, row.runtime, done.runtime_config, custom_objects)
        row.quantize_seconds = time.perf_counter() - start
        row.quantized = {
            "counts": done.counts,
            "parameters": done.quantized_parameters,
            "of_parameters": done.parameters,
            "left_out": done.left_out,
            "weight_ratio": done.weight_ratio,
        }
        share = done.quantized_parameters / done.parameters
        counts = ", ".join(f"{n} {kind}" for kind, n in done.counts.items())
        self.progress.say(f"{row.name}: quantized {counts}: {share:.0%} of {done.parameters / 1e6:.3g} M parameters")
        if done.left_out:
            self.progress.say(f"{row.name}: left in full precision though chosen: {', '.join(done.left_out)}")

    def _judge(self, row: VariantRow, variant: Variant, job: Job, contenders: Contenders, folder: Path) -> None:
        better = {name: metric.better for name, metric in job.task.metrics.items()}
        settings, inputs = self.recipe.benchmark, job.samples.inputs
        baseline = contenders.baseline
        with self.progress.stage(f"{row.name}: reload"):
            predictor = artifact.load(folder, self.threads)
        with contextlib.closing(predictor):
            with self.progress.stage(f"{row.name}: evaluate"):
                row.metrics = evaluate(predictor, contenders.rows, job.samples)
                row.recovery = recovery(row.metrics, baseline.metrics, better)
                row.sample = predictor.sample(inputs)
                row.size_bytes = artifact.size_bytes(folder)
                row.size_ratio = row.size_bytes / baseline.size_bytes
            with self.progress.stage(f"{row.name}: measure") as advance:
                timings = contenders.measure(row.name, predictor, inputs, advance)
                own = timings[row.name]
                speed = benchmark.speedup(timings[baseline.name], own)
                row.speedup = asdict(speed)
                same = timings[contenders.of_runtime(row.runtime).name]
                row.speedup_same_runtime = asdict(benchmark.speedup(same, own))
                row.latency_ms, row.throughput = own.latency_ms, own.throughput
                if settings.memory:
                    few = inputs[: settings.items]
                    row.peak_memory_bytes = benchmark.peak_memory_bytes(predictor, folder, few, self.threads)
        if note := benchmark.unsteady(timings):
            self.progress.say(f"{row.name}: {note}")
        gates = self.recipe.gates_of(variant)
        results = judge(gates, row.metrics, baseline.metrics, better, speedup=speed.median, size_ratio=row.size_ratio)
        row.gates = [r.report() for r in results]
        row.passed = all(r.passed for r in results)

    def _store(self, row: VariantRow, variant: Variant, contenders: Contenders, folder: Path) -> store.StoredModel:
        recipe = self.recipe
        baseline, *references = contenders.table()
        content = {
            plan.FINGERPRINT: self.plan.fingerprints[variant.name],
            "variant": asdict(row),
            "baseline": asdict(baseline),
            "references": [asdict(r) for r in references],
            "environment": self.report.environment,
            "recipe": recipe.model_dump(mode="json", exclude_defaults=True, exclude={"model", "evaluation", "variants"})
            | {"variants": [variant.model_dump(mode="json", exclude_defaults=True)]},
            "source": self.plan.source,
        }
        labels = {
            **recipe.labels,
            "recipe": recipe.name,
            "task": recipe.task,
            "quantizer": row.quantizer,
            "scheme": row.scheme,
            "runtime": row.runtime,
            "passed": str(row.passed).lower(),
        }
        metadata = {
            "description": recipe.description or None,
            "size_bytes": row.size_bytes,
            "size_ratio": row.size_ratio,
            "speedup": row.speedup and row.speedup["median"],
            **row.metrics,
        }
        return store.save(recipe.model_name(variant), folder, content, labels, metadata)

    def _in_recipe_order(self) -> None:
        order = [v.name for v in self.recipe.variants]
        self.report.variants.sort(key=lambda row: order.index(row.name))


def _reuse(report: Report, model: store.StoredModel) -> None:
    """A stored variant's row, and the full-precision rows it was measured with."""
    kept = model.manifest
    try:
        report.variants.append(VariantRow(**{**kept["variant"], "tag": model.tag, "reused": True}))
        report.baseline = ReferenceRow(**kept["baseline"])
        report.references = [ReferenceRow(**r) for r in kept["references"]]
        report.environment = kept["environment"]
    except (KeyError, TypeError) as error:
        raise StoreError(f"{model.tag}: its manifest lacks what a report needs ({error}); use --force") from error
