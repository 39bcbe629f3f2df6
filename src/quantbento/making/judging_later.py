"""Judges a stored model that another run only made, as that run would have judged it:

1. its recipe, from the manifest or given; the model, the samples, the options and the gates must be those it was made
   with
2. full precision in its runtime, then the model itself: the road of `pipeline.py` without quantizing
3. stored anew, with the judged row in its manifest; the unjudged version is removed, unless an alias stands for it
4. its row takes the place of the unjudged one in the recipe's report
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core import machine
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.core.files import link_or_copy
from quantbento.core.progress import Progress, Silent
from quantbento.inputs.recipe_inputs import SAMPLES
from quantbento.judging.references import in_order, prepare
from quantbento.judging.report import card, merge, page
from quantbento.judging.report.document import REPORT, Document
from quantbento.judging.rows import Report, VariantRow
from quantbento.making import cache, plan, provenance
from quantbento.making.fingerprint import FINGERPRINT
from quantbento.making.pipeline import load, packages_of
from quantbento.making.placement import choose_device
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.making.unjudged import to_judge
from quantbento.making.variant import Maker
from quantbento.recipe import Gates
from quantbento.recipe.document import Loc, Problem
from quantbento.store import manifest, signing
from quantbento.store.judged import TO_JUDGE, is_unjudged

MADE_ON = "made_on"  # the manifest's key for the environment of the run that made the artifact
# What the store and the model card add to an artifact.
ADDED = (manifest.MANIFEST, manifest.SIGNATURE, manifest.BENTOML_FILE, card.CARD, Path(card.RESULTS).parts[0])


@dataclass(frozen=True)
class Judged:
    """What was done.

    Attributes:
        report: of this model alone; `report.exit_code` is 0 or 1.
        path: the recipe's report, which has its row now.
        before, after: the tags of the unjudged and of the judged model.
        notes: what a person should know.
    """

    report: Report
    path: Path
    before: str
    after: str
    notes: list[str] = field(default_factory=list)


def judge(
    tag: str,
    *,
    recipe: str | Path | None = None,
    output: Path = Path("reports"),
    key: Path | None = None,
    progress: Progress | None = None,
) -> Judged:
    """Judges a model that was stored with `judge: none`.

    Args:
        tag: as for `store.find`.
        recipe: its recipe, where the manifest does not hold it because it names files.
        output: the folder in which `<recipe>/report.json` is.
        key: the private key to sign the judged model with.

    Raises:
        RecipeError: the recipe is not the one that the model was made by, or cannot be judged by here.
        QuantbentoError: the model is judged already, or does not run. The store is as it was then.
    """
    progress = progress or Silent()
    model = store.find(tag)
    kept = model.verify()
    if not is_unjudged(kept):
        passed = "passed" if (kept.get("variant") or {}).get("passed") else "did not pass"
        raise StoreError(f"{model.tag} was judged already, and {passed}. See it: quantbento models {tag.split(':')[0]}")
    if key is not None:
        signing.check_private(key)
    with progress.stage("plan"):
        planned = _plan(model, kept, recipe, progress)
        [variant] = planned.resolved.variants
        report = _report(planned, recipe)
        merge.require_same(Document(output, report.as_json()), output / report.recipe / REPORT)
    row = VariantRow(**{**kept["variant"], "judged": True, "tag": None})
    with tempfile.TemporaryDirectory(prefix="quantbento-") as workspace:
        stored = _judge(planned, variant, row, model, report, Path(workspace), progress)
        report.path = report.write(Path(workspace) / "report")
        merged = merge.add(report.path, output)
    notes = [*merged.notes, *page.write(merged.path).notes]
    if key is not None:
        signing.sign(stored.path, stored.tag, key)
    elif (model.path / signing.SIGNATURE).is_file():
        notes.append(
            f"{model.tag} was signed; a signature covers the manifest, which is another now. "
            f"Sign the judged model: quantbento sign {stored.tag} --key NAME.pem"
        )
    if model.aliases:
        name = model.tag.partition(":")[0]
        notes += [
            f"{name}:{alias} still is {model.tag}, which stays; move it: quantbento promote {stored.tag} --as {alias}"
            for alias in model.aliases
        ]
    else:
        store.delete(model.tag)
    return Judged(report, merged.path, model.tag, stored.tag, notes)


def _judge(
    planned: plan.Plan,
    variant: ResolvedVariant,
    row: VariantRow,
    model: store.StoredModel,
    report: Report,
    workspace: Path,
    progress: Progress,
) -> store.StoredModel:
    """Fills the row and the report, and stores the judged model."""
    recipe, kept = planned.recipe, model.manifest
    threads = recipe.benchmark.threads or machine.default_threads()
    with progress.stage("load model and samples"):
        job, samples = load(planned.resolved, workspace, progress)
    if (made := cache.made_model(planned.resolved, job.source)) != kept[TO_JUDGE]["source_sha256"]:
        raise QuantbentoError(
            f"{recipe.model.factory} returns another model here than the one that {model.tag} was made from: its "
            f"sha256 is {made}, not {kept[TO_JUDGE]['source_sha256']}. Judge it where that model is"
        )
    device = choose_device(recipe.benchmark.device, [variant], in_order(job, [variant.runtime])[0])
    job.cache = cache.stages(planned, job.source, device, threads, False, progress)
    settings = recipe.benchmark.model_copy(update={"device": device})
    references = prepare(job, samples, [variant.runtime], settings, threads, recipe.evaluation)
    try:
        if reason := references.refused.get(row.runtime):
            raise QuantbentoError(reason)
        report.baseline, *report.references = references.table()
        report.environment = machine.describe(threads, packages_of(planned, references), device)
        maker = Maker(planned, job, samples, references, report, threads, keep_failed=True)
        folder = maker.folder(variant)
        shutil.copytree(model.path, folder, copy_function=link_or_copy, ignore=shutil.ignore_patterns(*ADDED))
        maker.judge_artifact(row, variant, folder)
        with progress.stage(f"{row.name}: store"):
            stored = maker.store(row, variant, folder, {MADE_ON: kept["environment"]})
    finally:
        references.close()
    row.tag = stored.tag
    report.variants = [row]
    return stored


def _plan(model: store.StoredModel, kept: dict[str, Any], given: str | Path | None, progress: Progress) -> plan.Plan:
    """The plan of judging, by the recipe that the model was made by.

    Raises:
        RecipeError: everything that differs from it, or is missing here.
    """
    needs, name = kept[TO_JUDGE], kept["recipe"]["name"]
    recipe = given or needs["recipe"]
    if recipe is None:
        raise StoreError(
            f"the recipe of {model.tag} names files, which are not in its manifest. Give the recipe {name!r} where its "
            f"files are: quantbento judge {model.tag} --recipe PATH"
        )
    read, resolved, problems, notes = plan.to_judge(recipe, kept["variant"]["name"])
    problems += _other_recipe(resolved, kept)
    identities: dict[str, Any] = {}
    expected = {"model": kept["source"], "evaluation": needs["samples"]}
    for part in ("model", *SAMPLES, "custom_objects"):
        try:
            identities[part] = resolved.inputs.identity(part)
        except QuantbentoError as error:
            problems.append(Problem((part,), str(error)))
            continue
        if part in expected and not to_judge.same(identities[part], expected[part]):
            told = f"it is not what {model.tag} was made with: {identities[part]}, not {expected[part]}"
            problems.append(Problem((part,), told))
    if problems:
        raise read.error(problems)
    for note in notes:
        progress.say(note)
    prints = {kept["variant"]["name"]: kept[FINGERPRINT]}
    return plan.Plan(resolved, kept["source"], prints, {}, notes, identities, needs["order"])


def _other_recipe(resolved: ResolvedRecipe, kept: dict[str, Any]) -> list[Problem]:
    """Where a recipe says something else than the one that the model was made by."""
    if not resolved.variants:
        return []  # its names are wrong, which is said already
    recipe, [variant] = resolved.recipe, resolved.variants
    before, row = kept["recipe"], kept["variant"]
    [spec] = before["variants"]
    gates = Gates(**before.get("gates", {})).merged(Gates(**spec.get("gates", {})))
    found: list[tuple[Loc, Any, Any]] = [
        (("name",), recipe.name, before["name"]),
        (("task",), recipe.task, before["task"]),
        (("task_options",), recipe.task_options, before.get("task_options", {})),
        (("evaluation",), to_judge.evaluation(recipe), kept[TO_JUDGE]["evaluation"]),
        ((*variant.place, "quantizer"), variant.quantizer.name, row["quantizer"]),
        ((*variant.place, "options"), variant.spec.options, row["options"]),
        ((*variant.place, "gates"), variant.gates.model_dump(exclude_none=True), gates.model_dump(exclude_none=True)),
    ]
    return [Problem(place, f"is {now}; the model was made with {then}") for place, now, then in found if now != then]


def _report(planned: plan.Plan, recipe: str | Path | None) -> Report:
    resolved = planned.resolved
    report = Report(planned.recipe.name, planned.recipe.task, resolved.primary, resolved.task.throughput_unit)
    report.better = {name: metric.better for name, metric in resolved.metrics.items()}
    names = [variant.name for variant in resolved.variants]
    report.provenance = provenance.describe(recipe or planned.recipe, planned, names)
    return report
