"""The way from a recipe to stored variants:

1. plan: resolve every name, find what is wrong or missing, and what is already stored
2. load the source model, its task and the samples
3. write, reload and measure full precision
4. for each variant: quantize, reload from disk in its serving runtime, evaluate, measure, check its gates, and store
   it if it passed

Each variant is stored as soon as it has passed. What else an interrupted run had finished is kept, too
(`quantbento.making.cache`); only measurements are made again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core import machine, user_code
from quantbento.core.errors import QuantbentoError, StoreError, summary
from quantbento.core.progress import Progress, Silent
from quantbento.inputs.job import Job
from quantbento.judging.references import References, in_order, prepare
from quantbento.judging.report import page
from quantbento.judging.rows import ReferenceRow, Report, VariantRow, make_output_folder
from quantbento.making import ablation, cache, engines, plan, provenance
from quantbento.making.checks import PLACEHOLDERS
from quantbento.making.fingerprint import distributions
from quantbento.making.placement import choose_device
from quantbento.making.resolve import ResolvedRecipe
from quantbento.making.variant import Maker
from quantbento.recipe import Recipe
from quantbento.tasks.source import SampleSet

CPU = "cpu"  # what is only made is loaded on no device
SHAPES = 32  # samples from which a task learns the shapes of a model's inputs
ALWAYS = ("quantbento", "bentoml", "numpy")  # packages whose versions every report lists


def save(
    recipe: str | Path | dict[str, Any] | Recipe,
    *,
    variants: list[str] | None = None,
    output: str | Path = "reports",
    force: bool = False,
    keep_failed: bool = False,
    judge: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Makes, judges and stores the variants of a recipe.

    Args:
        recipe: a YAML file, a mapping of the same shape, or a `Recipe`.
        variants: names of the variants to make; all by default.
        output: the folder in which `<recipe>/report.json` is written.
        force: make variants again that are already stored, and use nothing that an earlier run finished.
        keep_failed: store variants that failed a gate, labelled `passed: false`.
        judge: "none" only makes, checks and stores every variant, labelled `judged: false`, to be judged on another
            machine.

    Returns:
        The report; `report.exit_code` is 0, 1 (a gate failed), 2 (a variant could not be made) or 3 (none of these, and
        some were not judged).

    Raises:
        RecipeError: with everything that is wrong with the recipe.
        QuantbentoError: the model or the samples cannot be used.
    """
    progress = progress or Silent()
    with progress.stage("plan"):
        planned = plan.make(recipe, variants, force, judge)
        make_output_folder(Path(output) / planned.recipe.name)
    resolved = planned.resolved
    report = Report(planned.recipe.name, planned.recipe.task, resolved.primary, resolved.task.throughput_unit)
    report.better = {name: metric.better for name, metric in resolved.metrics.items()}
    report.provenance = provenance.describe(recipe, planned, variants)
    for name, model in planned.reusable.items():
        _reuse(report, model)
        progress.say(f"{name}: unchanged, reusing {model.tag}")
    for note in planned.notes:
        progress.say(note)
    if planned.pending or ablation.due(planned, Path(output) / planned.recipe.name):
        with tempfile.TemporaryDirectory(prefix="quantbento-") as workspace:
            make_all(planned, report, Path(workspace), Path(output), keep_failed, progress, reuse=not force)
    report.write(Path(output))
    write_page(report, progress)
    for note in planned.notes:
        if note in PLACEHOLDERS.values():  # said before, but the table that follows must not look like a proof
            progress.say(note)
    return report


def make_all(
    planned: plan.Plan,
    report: Report,
    workspace: Path,
    output: Path,
    keep_failed: bool,
    progress: Progress,
    reuse: bool | None = None,
) -> None:
    """Makes the variants that are not stored yet. The report is written after each.

    Args:
        reuse: whether stages that an earlier run finished are used. None: none are kept for a later run either.
    """
    recipe, threads = planned.recipe, planned.recipe.benchmark.threads or machine.default_threads()
    with progress.stage("load model and samples"):
        job, samples = load(planned.resolved, workspace, progress)
    # Of all variants, also those that are stored: their rows are in the same table.
    variants = planned.resolved.variants
    judged = [variant for variant in variants if variant.judged]
    runtimes = list(dict.fromkeys(variant.runtime for variant in judged))
    compares = any(variant.judged for variant in planned.pending) or ablation.due(planned, output / recipe.name)
    device = choose_device(recipe.benchmark.device, judged, in_order(job, runtimes)[0]) if compares else CPU
    if reuse is not None:
        job.cache = cache.stages(planned, job.source, device, threads, not reuse, progress)
    settings = recipe.benchmark.model_copy(update={"device": device})
    references = References(settings)  # full precision is not even written where nothing is compared with it
    if compares:
        references = prepare(job, samples, runtimes, settings, threads, recipe.evaluation)
    try:
        if compares:
            report.baseline, *report.references = references.table()
        report.environment = machine.describe(threads, packages_of(planned, references), device)
        maker = Maker(planned, job, samples, references, report, threads, keep_failed)
        order = [v.name for v in recipe.variants]
        for variant in planned.pending:
            report.variants.append(maker.make(variant))
            report.variants.sort(key=lambda row: order.index(row.name))
            report.write(output)
        folder = output / recipe.name
        if recipe.ablate and (taken_apart := ablation.due(planned, folder)):
            ablation.write(folder, ablation.ablate(maker, taken_apart, recipe.ablate.off))
    finally:
        references.close()


def write_page(report: Report, progress: Progress) -> None:
    """Writes `report.html` and its plots. A run has done its work by then, so what is missing for them is only said."""
    assert report.path is not None
    try:
        with progress.stage("report page"):
            notes = page.write(report.path).notes
    except Exception as error:  # everything is stored and report.json is written: no fault of a page may end the run
        told = str(error) if isinstance(error, QuantbentoError) else summary(error)
        notes = [f"there is no report page: {told}. Try it alone: quantbento report {report.path}"]
    for note in notes:
        progress.say(note)


def load(resolved: ResolvedRecipe, workspace: Path, progress: Progress) -> tuple[Job, SampleSet]:
    """What quantizers work from, and, separate from it, the samples that variants are judged on.

    Raises:
        QuantbentoError: the model or the samples cannot be used.
    """
    recipe, inputs = resolved.recipe, resolved.inputs
    custom_objects = {name: user_code.resolve(code) for name, code in recipe.custom_objects.items()}
    preprocess = custom_objects.get("preprocess")
    samples = inputs.samples("evaluation")
    source = inputs.model.load(workspace)
    few = samples.inputs[:SHAPES]
    shapes = SampleSet(_preprocessed(few, preprocess), samples.labels)
    task = resolved.task.create(source, resolved.options, shapes)
    for note in task.notes:
        progress.say(note)
    job = Job(
        source,
        task,
        workspace,
        custom_objects=custom_objects,
        engine=engines.plain(resolved.engine),
        adapters=recipe.model.adapters,
        progress=progress,
    )
    for item in shapes.inputs:
        task.check(item)
    if recipe.calibration:
        checked = task.check_all(inputs.samples("calibration").inputs, preprocess)
        job.calibration = task.calibrate(checked, recipe.calibration)
    if recipe.training:
        training = inputs.samples("training")
        job.training = SampleSet(task.check_all(training.inputs, preprocess), training.labels)
    return job, samples


def _preprocessed(items: list[Any], preprocess: Callable[[Any], Any] | None) -> list[Any]:
    """The user's function on samples that there is no task for yet."""
    if preprocess is None:
        return items
    try:
        return [preprocess(item) for item in items]
    except Exception as error:
        raise QuantbentoError(f"preprocess failed on an evaluation sample: {type(error).__name__}: {error}") from error


def packages_of(planned: plan.Plan, references: References) -> list[str]:
    """Packages whose versions the report lists: those of everything that took part."""
    names = {name for variant in planned.resolved.variants for name in distributions(planned.resolved, variant)}
    return [*ALWAYS, *sorted(names.union(*(type(r.loaded.runtime).distributions for r in references.all)))]


def _reuse(report: Report, model: store.StoredModel) -> None:
    """Adds a stored variant's row to the report, with the full-precision rows it was measured with."""
    kept = model.manifest
    try:
        report.variants.append(VariantRow(**{**kept["variant"], "tag": model.tag, "reused": True}))
        if kept["baseline"] is None:  # it was not judged, so it was not compared
            report.environment = report.environment or kept["environment"]
            return
        report.baseline = ReferenceRow(**kept["baseline"])
        report.references = [ReferenceRow(**r) for r in kept["references"]]
        report.environment = kept["environment"]
    except (KeyError, TypeError) as error:
        raise StoreError(f"{model.tag}: its manifest lacks what a report needs ({error}); use --force") from error
