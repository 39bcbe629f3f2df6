"""One variant: quantized, reloaded from disk in its serving runtime, judged, and stored if it passed."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.judging import adapters, benchmark, canonical, decoding_gates, robustness
from quantbento.judging.closer import look_closer
from quantbento.judging.decoding import Comparison
from quantbento.judging.evaluate import answers, checked_rows, compare, recovery
from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.gates import judge
from quantbento.judging.lm_eval.recovery import PREFIX, beside_baseline, gated
from quantbento.judging.lm_eval.scores import scores
from quantbento.judging.noise import of_median
from quantbento.judging.references import References
from quantbento.judging.rows import Report, VariantRow
from quantbento.making.cache import depends_on, kept_evaluation
from quantbento.making.engines import judged
from quantbento.making.mixed.mix import failed_on_a_metric, mix
from quantbento.making.plan import Plan
from quantbento.making.resolve import ResolvedVariant
from quantbento.making.storing import keep
from quantbento.making.unjudged import artifact as unjudged
from quantbento.making.unjudged import to_judge
from quantbento.recipe.gates import METRIC_RULES, GateResult
from quantbento.runtimes import artifact
from quantbento.runtimes.loaded import LoadedModel
from quantbento.store.judged import TO_JUDGE
from quantbento.tasks.source import SampleSet


@dataclass(frozen=True)
class Maker:
    """What all variants of a run share.

    Attributes:
        samples: what variants are judged on; quantizers get `job`, which does not hold them.
        report: the run's report, for its environment.
        threads: CPU threads of a loaded model.
        keep_failed: also store variants that failed a gate.
    """

    plan: Plan
    job: Job
    samples: SampleSet
    references: References
    report: Report
    threads: int
    keep_failed: bool

    def make(self, variant: ResolvedVariant) -> VariantRow:
        """The variant's row; its `error` says why it could not be made, if it could not."""
        row, folder = variant.row(), self.folder(variant)
        try:
            if variant.judged:
                self.judge(row, variant, folder)
            else:
                self.check(row, variant, folder)
            if row.passed or self.keep_failed or not row.judged:
                with self.job.progress.stage(f"{row.name}: store"):
                    row.tag = self.store(row, variant, folder).tag
        except QuantbentoError as error:
            row.error = str(error)
        return row

    def folder(self, variant: ResolvedVariant) -> Path:
        """Where the variant's artifact is during the run."""
        return self.job.workspace / "variants" / variant.name

    def judge(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None:
        """Fills the row of a variant that is quantized into a new folder; nothing is stored.

        Raises:
            QuantbentoError: it could not be made.
        """
        folder.mkdir(parents=True)
        if reason := self.references.refused.get(row.runtime):
            raise QuantbentoError(reason)
        if variant.spec.mixed:
            mix(self, row, variant, folder)
        else:
            self.quantize(row, variant, folder)
        self.judge_artifact(row, variant, folder)
        if variant.spec.on_fail and failed_on_a_metric(row):
            mix(self, row, variant, folder)
            self.judge_artifact(row, variant, folder)

    def check(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None:
        """Fills the row of a variant that is quantized into a new folder and judged on another machine.

        Raises:
            QuantbentoError: it could not be made, or what was written is not right.
        """
        folder.mkdir(parents=True)
        row.judged = False
        self.quantize(row, variant, folder)
        with self.job.progress.stage(f"{row.name}: check what was written") as advance:
            row.checked = unjudged.check(self.job, variant.quantizer, folder, advance)
        row.size_bytes = artifact.size_bytes(folder)

    def prove(self, variant: ResolvedVariant) -> None:
        """Proves the graph that the variant starts from, once per run, if it starts from one."""
        if "onnx" in variant.quantizer.starts_from and self.job.graph is None:
            with self.job.progress.stage(f"{variant.name}: compare the canonical graph with the model's"):
                canonical.prove(self.job, self.samples, self.threads)

    def quantize(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None:
        """Writes the artifact into a folder, and what was done into the row."""
        job, depends = self.job, depends_on(variant)
        kept = job.cache.restore("quantized", depends, {"artifact": folder})
        if kept:
            job.progress.say(f"{row.name}: quantized before, with the same options")
        else:
            kept = self._quantized(variant, folder)
            job.cache.keep("quantized", depends, kept, {"artifact": folder})
        row.quantized, row.quantize_seconds = kept["quantized"], kept["seconds"]
        job.complete(folder, variant.runtime, kept["runtime_config"], variant.devices, variant.engine)

    def _quantized(self, variant: ResolvedVariant, folder: Path) -> dict[str, Any]:
        """Quantizes into a folder. What a later run needs to know of it, as JSON."""
        progress, name = self.job.progress, variant.name
        self.prove(variant)
        start = time.perf_counter()
        with progress.stage(f"{name}: quantize"):
            done = variant.quantizer.quantize(self.job, variant.options, folder)
        seconds = time.perf_counter() - start
        share = done.quantized_parameters / max(1, done.parameters)
        counts = ", ".join(f"{n} {kind}" for kind, n in done.counts.items())
        percent = f"{share:{'.0%' if share >= 0.01 else '.2%'}}"
        progress.say(f"{name}: quantized {counts}: {percent} of {done.parameters / 1e6:.3g} M parameters")
        if done.left_out:
            progress.say(f"{name}: left in full precision though chosen: {', '.join(done.left_out)}")
        for note in done.notes:
            progress.say(f"{name}: {note}")
        quantized = {
            "counts": done.counts,
            "parameters": done.quantized_parameters,
            "of_parameters": done.parameters,
            "left_out": done.left_out,
            "notes": done.notes,
            "weight_ratio": done.weight_ratio,
            "peak_memory_bytes": done.peak_memory_bytes,
        }
        return {"quantized": quantized, "seconds": seconds, "runtime_config": done.runtime_config}

    def judge_artifact(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None:
        """Fills the row with what a finished artifact does in its runtime, and what its gates say of that."""
        progress, references, decoding = self.job.progress, self.references, None
        settings, inputs = self.plan.recipe.benchmark, self.samples.inputs
        baseline, same = references.baseline, references.of_runtime(row.runtime)
        with progress.stage(f"{row.name}: reload"):
            loaded = artifact.load(folder, self.threads, references.settings.device)
        with contextlib.closing(loaded):
            self._evaluate(row, loaded, folder)
            if references.difficult:
                with progress.stage(f"{row.name}: difficult inputs"):
                    row.robustness = robustness.examine(loaded, inputs, references.difficult)
            with progress.stage(f"{row.name}: measure") as advance:
                timings = references.measure(row.name, loaded, inputs, advance)
                own = timings[row.name]
                speed = benchmark.speedup(timings[baseline.name], own)
                row.speedup = asdict(speed)
                if settings.paired and (ends := of_median(benchmark.ratios(timings[baseline.name], own))):
                    row.intervals["speedup"] = {"value": ends}
                row.speedup_same_runtime = asdict(benchmark.speedup(timings[same.name], own)) if same else None
                row.latency_ms, row.throughput = own.latency_ms, own.throughput
                if settings.memory:
                    few = inputs[: settings.items]
                    found = benchmark.footprint(loaded, folder, few, self.threads)
                    row.peak_memory_bytes, row.load_seconds = found.peak_memory_bytes, found.load_seconds
            if variant.decodes_otherwise:
                decoding = Comparison(row.name, folder, inputs, references.settings, self.threads, progress)
                decoding.observe(loaded)
        if decoding is not None:
            row.decoding = {"settings": judged(variant.engine), **decoding.result()}
        for note in filter(None, [*robustness.problems(row.robustness), benchmark.unsteady(timings)]):
            progress.say(f"{row.name}: {note}")
        results = self._results(row, variant, speed.median, decoding_gates.gated(row.decoding))
        row.gates = [r.report() for r in results]
        row.passed = all(r.passed for r in results)

    def evaluate(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> list[GateResult]:
        """Fills the row's metrics, and judges them by the gates; speed is not measured, and its gates pass. lm-eval's
        tasks, which take minutes, only where a gate names one."""
        limits = [getattr(variant.gates, rule) for rule in METRIC_RULES]
        asked = any(metric.startswith(PREFIX) for limit in limits for metric in limit)
        with self.job.progress.stage(f"{row.name}: reload"):
            loaded = artifact.load(folder, self.threads, self.references.settings.device)
        with contextlib.closing(loaded):
            self._evaluate(row, loaded, folder, asked)
        return self._results(row, variant, math.inf, decoding_gates.NOT_ASKED)

    def _evaluate(self, row: VariantRow, loaded: LoadedModel, folder: Path, asked: bool = True) -> None:
        references, progress = self.references, self.job.progress
        baseline = references.baseline
        with kept_evaluation(self.job.cache, row, folder, baseline.name) as known:
            if not known:
                with progress.stage(f"{row.name}: evaluate"):
                    own = checked_rows(loaded, self.samples, "the variant")
                    given = answers(loaded, self.samples)
                    row.metrics = compare(self.job.task, references.rows, own, self.samples, given)
                    row.kl = self.job.task.divergence(references.rows, own)
                    row.recovery = recovery(row.metrics, baseline.metrics, self._better)
                    row.sample = loaded.sample(self.samples.inputs)
                with progress.stage(f"{row.name}: estimate noise"):
                    before = Outcome(references.rows, references.answers)
                    look_closer(row, self.job.task, self.samples, before, Outcome(own, given))
                for name, full in references.adapters.items():
                    with progress.stage(f"{row.name}: evaluate with the adapter {name}"):
                        row.adapters[name] = adapters.examine(loaded, name, full, self.samples, self._better)
        if asked and (spec := self.plan.recipe.evaluation.lm_eval):
            with kept_evaluation(self.job.cache, row, folder, baseline.name, "lm-eval") as known:
                if not known:
                    answered = scores(loaded, spec, row.name, progress)
                    row.lm_eval = beside_baseline(answered, references.lm_eval)
        row.size_bytes = artifact.size_bytes(folder)
        row.size_ratio = row.size_bytes / baseline.size_bytes

    def _results(
        self, row: VariantRow, variant: ResolvedVariant, speedup: float, decoded: dict[str, float]
    ) -> list[GateResult]:
        tasks, base_tasks, directions = gated(row.lm_eval)
        assert row.size_ratio is not None
        alone = judge(
            variant.gates,
            row.metrics | tasks | decoded,
            self.references.baseline.metrics | base_tasks,
            self._better | directions,
            speedup=speedup,
            size_ratio=row.size_ratio,
            intervals=row.intervals,
            primary=self.plan.resolved.recovering,
        )
        return adapters.worst(alone, {name: self._with_adapter(found, variant) for name, found in row.adapters.items()})

    def _with_adapter(self, found: dict[str, Any], variant: ResolvedVariant) -> list[GateResult]:
        """The same gates; those on speed and size, which are the model's, pass."""
        return judge(
            variant.gates,
            found["metrics"],
            found["baseline"],
            self._better,
            speedup=math.inf,
            size_ratio=0.0,
            intervals=found["intervals"],
            primary=self.plan.resolved.recovering,
        )

    @property
    def _better(self) -> dict[str, int]:
        return {name: metric.better for name, metric in self.plan.resolved.metrics.items()}

    def store(
        self, row: VariantRow, variant: ResolvedVariant, folder: Path, more: dict[str, Any] | None = None
    ) -> store.StoredModel:
        """Stores an artifact with its row and its model card; `more` is for the manifest."""
        compared = self.references.table() if row.judged else []
        later = {} if row.judged else {TO_JUDGE: to_judge.describe(self.plan, variant.spec, self.job.source)}
        return keep(self.plan, self.report.environment, compared, row, variant.spec, folder, later | (more or {}))
