"""The whole road of a recipe in seconds, to find the step that would fail after hours.

1. plan, and everything that is looked at before a run: names, packages, the model's files, all samples, memory, disk
2. a model of the same architecture with two layers and random weights (`small_model.py`) takes the place of a model in
   hub format; of a hub model, the configuration and the tokenizer are fetched and no weights. What a function returns,
   and ONNX and other files, run as they are
3. the pipeline itself with a few samples and the least of every option that takes time: each variant is quantized,
   reloaded in its runtime, evaluated, and stored in a temporary store
4. each is verified there; models that take arrays are loaded again, here and in a process of their own

Gates are not judged: of random weights they say nothing. The user's store and reports are not touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbento import store
from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Progress, Silent
from quantbento.inputs.judged import few
from quantbento.inputs.recipe_inputs import RecipeInputs
from quantbento.judging import benchmark
from quantbento.judging.rows import Report
from quantbento.making import plan, small_model
from quantbento.making.pipeline import make_all
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.making.steps import Steps
from quantbento.recipe import Benchmark, Gates, ModelSpec, Recipe
from quantbento.runtimes import artifact
from quantbento.store.temporary import temporary_store
from quantbento.tasks.source import SampleSet

FEW = 4  # samples: more than one, so that they make a batch
MOST_LABELS = 64
QUICK_BENCHMARK = {"items": 2, "rounds": 3, "latency_calls": 10, "memory": False}
QUICK_CALIBRATION = {"sequences": 4, "sequence_length": 32}
QUICK_QUESTIONS = 2  # of each task of lm-eval
FULL_LOAD_BYTES = 2_000_000_000  # weights up to here are loaded once, as they are: that takes seconds


@dataclass(frozen=True)
class Failure:
    """A step that would have failed: `step` as a run shows it, and why."""

    step: str
    reason: str

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}"


@dataclass
class Rehearsal:
    """What a rehearsal found. `rehearsed` are the variants that took the whole road."""

    recipe: str
    rehearsed: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ready(self) -> bool:
        return not self.failures


def rehearse(
    recipe: str | Path | dict[str, Any] | Recipe,
    *,
    variants: list[str] | None = None,
    judge: str | None = None,
    progress: Progress | None = None,
) -> Rehearsal:
    """Takes a recipe's road with a small model and few samples.

    Raises:
        RecipeError: with everything that is wrong with the recipe.
    """
    steps, start = Steps(progress or Silent()), time.perf_counter()
    with steps.stage("plan"):
        resolved, notes = plan.look(recipe, variants, judge)
    found = Rehearsal(resolved.recipe.name)
    for note in notes:
        steps.say(note)
    wanted = [variant for variant in resolved.variants if _can_be_rehearsed(variant, steps)]
    if wanted:
        with tempfile.TemporaryDirectory(prefix="quantbento-rehearsal-") as folder, temporary_store(Path(folder)):
            try:
                _take_the_road(dataclasses.replace(resolved, variants=wanted), Path(folder), found, steps)
            except QuantbentoError as error:
                found.failures.append(Failure(steps.failed or "rehearsal", str(error)))
    found.seconds = time.perf_counter() - start
    return found


def _can_be_rehearsed(variant: ResolvedVariant, steps: Steps) -> bool:
    if later := variant.quantizer.made_on_first_use():
        steps.say(f"{variant.name}: not rehearsed: {later}")
    return not later


def _take_the_road(resolved: ResolvedRecipe, folder: Path, found: Rehearsal, steps: Steps) -> None:
    with steps.stage("read the samples"):
        whole = {kind: resolved.inputs.samples(kind) for kind in resolved.inputs.specs}
    quick = _quick(resolved, whole, _small_model(resolved, folder / "model", steps))
    planned = plan.Plan(quick, {"rehearsal": resolved.recipe.name}, dict.fromkeys(_names(quick), "rehearsal"), {}, [])
    task = resolved.task
    report = Report(quick.recipe.name, quick.recipe.task, task.primary, task.throughput_unit)
    workspace = folder / "workspace"
    workspace.mkdir()
    make_all(planned, report, workspace, folder / "reports", keep_failed=False, progress=steps)
    for row in report.variants:
        if row.error or row.tag is None:
            found.failures.append(Failure(steps.failed_of(row.name), row.error or "was not stored"))
            continue
        try:
            if row.judged:
                _load_again(row.tag, row.name, whole["evaluation"].inputs, steps)
        except QuantbentoError as error:
            found.failures.append(Failure(steps.failed_of(row.name), str(error)))
        else:
            found.rehearsed.append(row.name)


def _load_again(tag: str, name: str, inputs: list[Any], steps: Steps) -> None:
    """Verifies a stored model, loads it from the store, and has it and another process answer. A language model's
    engine has answered from a folder before, and takes long to start."""
    model = store.find(tag)
    with steps.stage(f"{name}: verify"):
        model.verify()
    if registry.runtime(artifact.describe(model.path)["runtime"]).contract == "tokens":
        return
    with steps.stage(f"{name}: load again, check every sample"), contextlib.closing(model.load(threads=1)) as loaded:
        loaded.check(inputs)
        loaded.work(inputs[:FEW])
        benchmark.footprint(loaded, model.path, inputs[:FEW], threads=1)


def _small_model(resolved: ResolvedRecipe, folder: Path, steps: Steps) -> ModelSpec:
    """The recipe's model with a small one in its place, where it is in hub format."""
    spec, model, task = resolved.recipe.model, resolved.inputs.model, resolved.task
    if not (task.auto_class and model.in_hub_format):
        return spec
    with steps.stage("make a small model"):
        source = model.folder(weights=False)
        as_wide = small_model.write(
            source, task.auto_class, folder, on_disk=task.on_disk, trust_remote_code=spec.trust_remote_code
        )
    if spec.adapter and not as_wide:
        steps.say("not rehearsed: merging the adapter, because the small model is narrower than the one it is for")
    if spec.adapters:
        steps.say("not rehearsed: the adapters, which are for layers that the small model does not have")
    _look_at_weights(resolved, source, folder.parent / "weights", steps)
    adapter = spec.adapter if as_wide else None
    return ModelSpec(path=folder, adapter=adapter, trust_remote_code=spec.trust_remote_code)


def _look_at_weights(resolved: ResolvedRecipe, folder: Path, workspace: Path, steps: Steps) -> None:
    """Loads the real weights where that takes seconds.

    Raises:
        QuantbentoError: there are none, or they do not load.
    """
    spec, model = resolved.recipe.model, resolved.inputs.model
    if spec.id:
        steps.say(f"not rehearsed: fetching the weights of {spec.id}")
        return
    files = [path for pattern in ("*.safetensors", "*.bin") for path in folder.glob(pattern)]
    size = sum(path.stat().st_size for path in files)
    with steps.stage("load the weights"):
        if not files:
            raise QuantbentoError(f"there are no weights in {folder}; it needs model.safetensors or its like")
        if size <= FULL_LOAD_BYTES:
            _ = model.load(workspace).module  # a model that stays on disk is read only now
            return
    steps.say(f"not rehearsed: loading the {size / 1e9:.1f} GB of weights in {folder}")


def _quick(resolved: ResolvedRecipe, whole: dict[str, SampleSet], model: ModelSpec) -> ResolvedRecipe:
    """The recipe with the small model, few samples, no gates, and the least of every option that takes time."""
    recipe, task = resolved.recipe, resolved.task
    tasks = recipe.evaluation.lm_eval
    asked = {"robustness": False, "lm_eval": tasks and tasks.model_copy(update={"limit": QUICK_QUESTIONS})}
    few = recipe.model_copy(
        update={
            "evaluation": recipe.evaluation.model_copy(update=asked),
            "model": model,
            "ablate": None,
            "benchmark": Benchmark(**{**recipe.benchmark.model_dump(), **QUICK_BENCHMARK}),
            "calibration": _least(recipe.calibration, QUICK_CALIBRATION) if recipe.calibration else None,
            "variants": [v.spec for v in resolved.variants],
        }
    )
    variants = [
        dataclasses.replace(
            v,
            spec=v.spec.model_copy(update={"mixed": None, "on_fail": None}),  # a small model's layers tell nothing
            options=_least(v.options, v.quantizer.quickest),
            gates=Gates(),
        )
        for v in resolved.variants
    ]
    # Texts of a language model are joined and cut, so that all are needed; what is cut from them is little.
    inputs = _Few(few, resolved, whole, None if task.contract == "tokens" else FEW)
    return ResolvedRecipe(few, task, _least(resolved.options, task.quickest), inputs, variants)


def _least(options: Any, quickest: dict[str, Any]) -> Any:
    """The options with the smaller of their own and the quickest values."""
    return options.model_copy(update={name: min(getattr(options, name), value) for name, value in quickest.items()})


def _names(resolved: ResolvedRecipe) -> list[str]:
    return [variant.name for variant in resolved.variants]


class _Few(RecipeInputs):
    """The inputs of the real recipe, read already and cut to the first of each kind."""

    def __init__(self, recipe: Recipe, real: ResolvedRecipe, whole: dict[str, SampleSet], count: int | None) -> None:
        super().__init__(recipe, real.task)
        if recipe.model == real.recipe.model:
            self.model = real.inputs.model  # what its factory returned is kept
        for kind, samples in whole.items():
            self._samples[kind] = samples if count is None else _some(samples, count)


def _some(samples: SampleSet, count: int) -> SampleSet:
    """The first samples, and the first of each further label, so that a label the model does not have is found."""
    if samples.units is not None:
        return few(samples, count)
    labels = samples.labels
    chosen = dict.fromkeys(range(min(count, len(samples.inputs))))
    for label in dict.fromkeys(map(str, labels or ())):
        if len(chosen) < MOST_LABELS:
            chosen[list(map(str, labels or ())).index(label)] = None
    return samples.chosen(list(chosen))
