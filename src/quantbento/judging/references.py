"""Full precision in every form that variants are compared with: the baseline, bf16, and other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quantbento.core import registry
from quantbento.core.devices import kind_of
from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Advance
from quantbento.inputs.job import Job
from quantbento.judging import benchmark, robustness
from quantbento.judging.adapters import FullPrecision, of_baseline
from quantbento.judging.evaluate import answers, checked_rows, compare
from quantbento.judging.kept import KeptReference
from quantbento.judging.lm_eval.scores import kept_scores
from quantbento.judging.rows import ReferenceRow
from quantbento.recipe import Benchmark, Evaluation
from quantbento.runtimes import artifact
from quantbento.runtimes.base import Runtime
from quantbento.runtimes.loaded import LoadedModel
from quantbento.tasks.base import Arrays
from quantbento.tasks.metrics import output_metrics
from quantbento.tasks.source import SampleSet

# A sound export differs from the original by float rounding only: 90 dB and more. Broken ones are below 20 dB.
SOUND_EXPORT_DB = 40.0
SOUND_EXPORT_AGREEMENT = 0.95  # of integers, where rounding can turn a tie over
SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass
class Reference:
    """One full-precision model. With `benchmark.paired: false`, `loaded` is closed already; `timing` stays."""

    name: str
    folder: Path
    loaded: LoadedModel
    metrics: dict[str, float]
    own_dtype: bool  # in the source's dtype: full precision, not a bf16 version of it
    timing: benchmark.Timing | None = None
    peak_memory_bytes: int | None = None
    load_seconds: float | None = None

    @property
    def runtime(self) -> str:
        return self.loaded.runtime.name

    @property
    def size_bytes(self) -> int:
        return artifact.size_bytes(self.folder)


@dataclass
class References:
    """All references, the baseline first, with the baseline's rows.

    Attributes:
        refused: why full precision does not work in a runtime, by the runtime's name. Its variants would not work
            either.
        missing: runtimes that have no full precision.
        answers: the baseline's answers, where the recipe asks for what needs them.
        lm_eval: the baseline's figures in the tasks of lm-eval; empty where the recipe names none.
        adapters: what the baseline gave with each LoRA adapter.
        difficult: the baseline's rows of difficult inputs; empty where the recipe turns them off.
    """

    settings: Benchmark
    all: list[Reference] = field(default_factory=list)
    rows: Arrays = field(default_factory=dict)
    answers: list[Any] | None = None
    refused: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    lm_eval: dict[str, dict[str, Any]] = field(default_factory=dict)
    adapters: dict[str, FullPrecision] = field(default_factory=dict)
    difficult: robustness.Difficult = field(default_factory=dict)

    @property
    def baseline(self) -> Reference:
        return self.all[0]

    def of_runtime(self, runtime: str) -> Reference | None:
        """Full precision in a runtime, or None."""
        return next((r for r in self.all if r.runtime == runtime and r.own_dtype), None)

    def measure(
        self, name: str, loaded: LoadedModel, inputs: list[Any], advance: Advance
    ) -> dict[str, benchmark.Timing]:
        """The timings by name of a variant, the baseline, and full precision in the variant's runtime. They are
        measured in rounds together. With `paired: false`, the references' earlier timings are used."""
        same = self.of_runtime(loaded.runtime.name)
        others = {r.name: r for r in (self.baseline, *([same] if same else []))}
        beside = {n: r.loaded for n, r in others.items()} if self.settings.paired else {}
        timings = benchmark.measure({**beside, name: loaded}, inputs, self.settings, advance)
        return {n: r.timing for n, r in others.items() if r.timing} | timings

    def table(self) -> list[ReferenceRow]:
        if not self.all:
            return []
        base = self.baseline
        return [
            ReferenceRow(
                name=r.name,
                runtime=r.runtime,
                size_bytes=r.size_bytes,
                size_ratio=r.size_bytes / base.size_bytes,
                metrics=r.metrics,
                **r.timing.report(),
                speedup=asdict(benchmark.speedup(base.timing, r.timing)),
                peak_memory_bytes=r.peak_memory_bytes,
                load_seconds=r.load_seconds,
            )
            for r in self.all
            if r.timing and base.timing
        ]

    def close(self) -> None:
        for reference in self.all:
            reference.loaded.close()


def prepare(
    job: Job,
    samples: SampleSet,
    runtimes: Sequence[type[Runtime]],
    settings: Benchmark,
    threads: int,
    evaluation: Evaluation | None = None,
) -> References:
    """Writes, reloads, checks and measures all references, in rounds with each other.

    The baseline must work. Any other reference that does not work is left out, with a line that says so: nobody asked
    for bf16, and if the model cannot be exported to a runtime, each of its variants is refused. What an earlier run
    evaluated (`job.cache`) is only reloaded and measured.

    Args:
        runtimes: the runtimes that serve the variants.
        settings: with a device that was chosen, not `auto`.
        evaluation: what the baseline is asked beside the samples, for the variants to be compared with.
    """
    done = References(settings)
    try:
        for form in _wanted(job, runtimes, settings):
            _add(done, job, samples, form, threads, evaluation)
        if settings.paired:
            _measure(done.all, job, samples, settings, threads)
    except BaseException:
        done.close()
        raise
    return done


@dataclass(frozen=True)
class _Form:
    """A form of full precision; `own`: in the source's own dtype."""

    runtime: type[Runtime]
    dtype: str
    own: bool
    compiled: bool = False

    @property
    def name(self) -> str:
        dtype = SHORT.get(self.dtype, self.dtype)
        return f"{self.runtime.name}-compiled-{dtype}" if self.compiled else f"{self.runtime.name}-{dtype}"


def in_order(job: Job, runtimes: Sequence[type[Runtime]]) -> list[type[Runtime]]:
    """The runtimes that run full precision, the baseline's first.

    The baseline runs the source as it is. For models in memory that is PyTorch or ONNX Runtime, even if it serves no
    variant. For checkpoints it is the first engine that serves a variant, since others may not be installed.
    """
    known = list(dict.fromkeys([*map(registry.runtime, registry.RUNTIMES), *runtimes]))
    as_it_is = [r for r in known if job.source.kind in r.runs and (not job.task.on_disk or r in runtimes)]
    return list(dict.fromkeys([*as_it_is[:1], *(r for r in known if r in runtimes)]))


def _wanted(job: Job, runtimes: Sequence[type[Runtime]], settings: Benchmark) -> list[_Form]:
    """Each reference, the baseline first."""
    own = job.source.dtype or "float32"
    found = []
    for runtime in in_order(job, runtimes):
        found.append(_Form(runtime, own, True))
        dtypes = [dtype for dtype in runtime.reference_dtypes.get(kind_of(settings.device), ()) if dtype != own]
        found += [_Form(runtime, dtype, False) for dtype in dtypes]
        if settings.compile and runtime.compiles:
            found += [_Form(runtime, dtype, False, compiled=True) for dtype in dtypes]
    return found


def _add(
    done: References, job: Job, samples: SampleSet, form: _Form, threads: int, evaluation: Evaluation | None
) -> None:
    name, runtime, own = form.name, form.runtime, form.own
    folder = job.workspace / "references" / name
    folder.mkdir(parents=True)
    stage = KeptReference(job.cache, folder, runtime, {"own": own, "baseline": [r.name for r in done.all[:1]]})
    loaded = given = None
    try:
        if kept := stage.restore():
            with job.progress.stage(f"{name}: reload what an earlier run evaluated"):
                loaded = artifact.load(folder, threads, done.settings.device)
                rows, metrics = kept
        else:
            with job.progress.stage(f"{name}: write, reload and evaluate"):
                config = runtime.write_reference(job, folder, form.dtype)
                if config is None:
                    _does_not_exist(done, job, runtime, own)
                    return
                job.complete(folder, runtime, config | ({"compile": True} if form.compiled else {}))
                loaded = artifact.load(folder, threads, done.settings.device)
                rows = checked_rows(loaded, samples, "the full-precision model")
                given = answers(loaded, samples)
                metrics = compare(job.task, done.rows or rows, rows, samples, given)
                if own and form.dtype == "float32":
                    _check_same(rows, done.rows or rows, name)
                stage.keep(rows, metrics)
        done.rows = done.rows or rows
    except QuantbentoError as error:
        if loaded:
            loaded.close()
        if not done.all:
            raise
        job.progress.say(f"{name}: left out: {error}")
        if own:
            done.refused[runtime.name] = str(error)
        return
    done.all.append(Reference(name, folder, loaded, metrics, own))
    if len(done.all) == 1:
        done.answers = given or answers(loaded, samples)
        done.adapters = of_baseline(loaded, list(job.adapters), samples, job.progress)
    if evaluation is not None and len(done.all) == 1:
        _ask_more(done, job, samples, loaded, evaluation)
    if not done.settings.paired:
        _measure(done.all[-1:], job, samples, done.settings, threads)
        loaded.close()


def _ask_more(done: References, job: Job, samples: SampleSet, baseline: LoadedModel, evaluation: Evaluation) -> None:
    name = done.baseline.name
    if evaluation.robustness:
        with job.progress.stage(f"{name}: difficult inputs"):
            done.difficult = robustness.baseline_rows(baseline, samples.inputs)
    if evaluation.lm_eval is not None:
        done.lm_eval = kept_scores(baseline, evaluation.lm_eval, name, job.progress, job.cache)


def _does_not_exist(done: References, job: Job, runtime: type[Runtime], own: bool) -> None:
    if not own:
        return
    if not done.all:
        raise QuantbentoError(
            f"the {runtime.name} runtime cannot run this model in full precision: there is no baseline"
        )
    done.missing.append(runtime.name)
    job.progress.say(
        f"{runtime.name}: there is no full precision in this runtime; its variants are compared with the baseline only"
    )


def _measure(references: list[Reference], job: Job, samples: SampleSet, settings: Benchmark, threads: int) -> None:
    inputs = samples.inputs
    with job.progress.stage(f"measure {', '.join(r.name for r in references)}") as advance:
        timings = benchmark.measure({r.name: r.loaded for r in references}, inputs, settings, advance)
        for r in references:
            r.timing = timings[r.name]
            if settings.memory:
                few = inputs[: settings.items]
                found = benchmark.footprint(r.loaded, r.folder, few, threads)
                r.peak_memory_bytes, r.load_seconds = found.peak_memory_bytes, found.load_seconds
    if note := benchmark.unsteady(timings):
        job.progress.say(note)


def _check_same(own: Arrays, rows: Arrays, name: str) -> None:
    """Refuses an export that computes something else: every variant of it would look badly quantized."""
    apart = output_metrics(rows, {output: own[output] for output in rows})
    db, agreement = apart.get("sqnr_db", SOUND_EXPORT_DB), apart.get("agreement", 1.0)
    if db < SOUND_EXPORT_DB or agreement < SOUND_EXPORT_AGREEMENT:
        told = f"{round(db)} dB apart, {SOUND_EXPORT_DB:.0f} needed"
        if db >= SOUND_EXPORT_DB:
            told = f"{agreement:.0%} of its integers and booleans are equal, {SOUND_EXPORT_AGREEMENT:.0%} needed"
        raise QuantbentoError(
            f"{name} does not compute what the original does: {told}. "
            "What was written for this runtime is another model; use variants of another runtime"
        )
