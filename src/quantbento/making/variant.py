"""One variant: quantized, reloaded from disk in its serving runtime, judged, and stored if it passed."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.judging import benchmark, canonical
from quantbento.judging.evaluate import evaluate, recovery
from quantbento.judging.gates import judge
from quantbento.judging.references import References
from quantbento.judging.rows import Report, VariantRow
from quantbento.making.fingerprint import FINGERPRINT
from quantbento.making.plan import Plan
from quantbento.making.resolve import ResolvedVariant
from quantbento.runtimes import artifact
from quantbento.tasks.source import SampleSet

# What a manifest's recipe leaves out: what the manifest says elsewhere, and the paths of files on this machine.
ELSEWHERE: dict[str, Any] = {
    "model": True,
    "evaluation": True,
    "variants": True,
    "calibration": {"path"},
    "training": {"path"},
}


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
        spec = variant.spec
        row = VariantRow(spec.name, variant.quantizer.name, variant.scheme, spec.options, variant.runtime.name)
        folder = self.job.workspace / "variants" / spec.name
        folder.mkdir(parents=True)
        try:
            if reason := self.references.refused.get(row.runtime):
                raise QuantbentoError(reason)
            self._quantize(row, variant, folder)
            self._judge(row, variant, folder)
            if row.passed or self.keep_failed:
                with self.job.progress.stage(f"{row.name}: store"):
                    row.tag = self._store(row, variant, folder).tag
        except QuantbentoError as error:
            row.error = str(error)
        return row

    def _quantize(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None:
        job = self.job
        if "onnx" in variant.quantizer.starts_from:
            with job.progress.stage(f"{row.name}: compare the canonical graph with the model's"):
                canonical.prove(job, self.samples, self.threads)
        start = time.perf_counter()
        with job.progress.stage(f"{row.name}: quantize"):
            done = variant.quantizer.quantize(job, variant.options, folder)
            job.complete(folder, variant.runtime, done.runtime_config, variant.devices)
        row.quantize_seconds = time.perf_counter() - start
        row.quantized = {
            "counts": done.counts,
            "parameters": done.quantized_parameters,
            "of_parameters": done.parameters,
            "left_out": done.left_out,
            "notes": done.notes,
            "weight_ratio": done.weight_ratio,
        }
        share = done.quantized_parameters / max(1, done.parameters)
        counts = ", ".join(f"{n} {kind}" for kind, n in done.counts.items())
        percent = f"{share:{'.0%' if share >= 0.01 else '.2%'}}"
        job.progress.say(f"{row.name}: quantized {counts}: {percent} of {done.parameters / 1e6:.3g} M parameters")
        if done.left_out:
            job.progress.say(f"{row.name}: left in full precision though chosen: {', '.join(done.left_out)}")
        for note in done.notes:
            job.progress.say(f"{row.name}: {note}")

    def _judge(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None:
        task, progress, references = self.job.task, self.job.progress, self.references
        better = {name: metric.better for name, metric in task.metrics.items()}
        settings, inputs = self.plan.recipe.benchmark, self.samples.inputs
        baseline, same = references.baseline, references.of_runtime(row.runtime)
        with progress.stage(f"{row.name}: reload"):
            loaded = artifact.load(folder, self.threads, references.settings.device)
        with contextlib.closing(loaded):
            with progress.stage(f"{row.name}: evaluate"):
                row.metrics = evaluate(loaded, references.rows, self.samples)
                row.recovery = recovery(row.metrics, baseline.metrics, better)
                row.sample = loaded.sample(inputs)
                row.size_bytes = artifact.size_bytes(folder)
                row.size_ratio = row.size_bytes / baseline.size_bytes
            with progress.stage(f"{row.name}: measure") as advance:
                timings = references.measure(row.name, loaded, inputs, advance)
                own = timings[row.name]
                speed = benchmark.speedup(timings[baseline.name], own)
                row.speedup = asdict(speed)
                row.speedup_same_runtime = asdict(benchmark.speedup(timings[same.name], own)) if same else None
                row.latency_ms, row.throughput = own.latency_ms, own.throughput
                if settings.memory:
                    few = inputs[: settings.items]
                    found = benchmark.footprint(loaded, folder, few, self.threads)
                    row.peak_memory_bytes, row.load_seconds = found.peak_memory_bytes, found.load_seconds
        if note := benchmark.unsteady(timings):
            progress.say(f"{row.name}: {note}")
        gates = variant.gates
        results = judge(gates, row.metrics, baseline.metrics, better, speedup=speed.median, size_ratio=row.size_ratio)
        row.gates = [r.report() for r in results]
        row.passed = all(r.passed for r in results)

    def _store(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> store.StoredModel:
        recipe = self.plan.recipe
        baseline, *references = self.references.table()
        content = {
            FINGERPRINT: self.plan.fingerprints[row.name],
            "variant": asdict(row),
            "baseline": asdict(baseline),
            "references": [asdict(r) for r in references],
            "environment": self.report.environment,
            "recipe": recipe.model_dump(mode="json", exclude_defaults=True, exclude=ELSEWHERE)
            | {"variants": [variant.spec.model_dump(mode="json", exclude_defaults=True)]},
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
            **({"samples": "placeholder"} if recipe.evaluation.placeholder else {}),
        }
        metadata = {
            "description": recipe.description or None,
            "size_bytes": row.size_bytes,
            "size_ratio": row.size_ratio,
            "speedup": row.speedup and row.speedup["median"],
            **row.metrics,
        }
        return store.save(recipe.model_name(variant.spec), folder, content, labels, metadata)
