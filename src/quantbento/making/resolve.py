"""Resolves every name of a recipe, once. Nothing after this looks a name up again.

What is wrong with names, options, metrics and packages is found here, in one pass over the data as given: a recipe
whose shape is wrong in one place is still checked in all others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quantbento.inputs.recipe_inputs import SAMPLES, RecipeInputs
from quantbento.judging.evaluation import kinds
from quantbento.judging.rows import VariantRow
from quantbento.making import engines, evaluation_checks, lm_eval_checks
from quantbento.making.inspection import Inspection, variants_of
from quantbento.making.mixed.problems import mixed_problems
from quantbento.quantizers.base import Quantizer
from quantbento.recipe import Gates, Recipe, Variant
from quantbento.recipe.document import Loc, Problem
from quantbento.recipe.reading import ReadRecipe
from quantbento.runtimes.base import Runtime
from quantbento.tasks.base import Metric, Task


@dataclass(frozen=True)
class ResolvedVariant:
    """A variant with everything its names mean.

    Attributes:
        spec: what the recipe says.
        place: where the variant is in the recipe.
        options: the checked options; in a recipe with problems, only those that are right.
        gates: the recipe's gates merged with its own.
        engine: settings of its engine: the recipe's and its own.
    """

    spec: Variant
    place: Loc
    quantizer: Quantizer
    options: Any
    runtime: type[Runtime]
    gates: Gates
    engine: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def judged(self) -> bool:
        """Whether it is judged in this run."""
        return self.spec.judge != "none"

    @property
    def scheme(self) -> str:
        return self.quantizer.scheme_of(self.options)

    def row(self) -> VariantRow:
        """Its row of the report, before anything was made or measured."""
        return VariantRow(self.name, self.quantizer.name, self.scheme, self.spec.options, self.runtime.name)

    @property
    def decodes_otherwise(self) -> bool:
        """Whether its engine guesses tokens or keeps prefixes: it is then compared with a plain one."""
        settings = self.runtime.Settings and self.runtime.Settings.model_validate(self.engine)
        return bool(getattr(settings, "decodes_otherwise", False))

    @property
    def devices(self) -> tuple[str, ...]:
        """The kinds of devices that can run it."""
        return self.quantizer.devices_of_result(self.runtime, self.options)


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with everything its names mean. `options` are the task's."""

    recipe: Recipe
    task: type[Task]
    options: Any
    inputs: RecipeInputs
    variants: list[ResolvedVariant]

    @property
    def metrics(self) -> dict[str, Metric]:
        """All that is measured: the task's metrics, those of the kind of evaluation, and the user's own."""
        return kinds.metrics(self.task, self.recipe.evaluation)

    @property
    def primary(self) -> tuple[str, ...]:
        """Metrics for the summary, which shows the first of them that was measured."""
        return tuple(kinds.primary(self.task, self.recipe.evaluation))

    @property
    def recovering(self) -> tuple[str, ...]:
        """Of the primary metrics, those that have a recovery: what a gate's `level` is about."""
        return tuple(name for name in self.primary if self.metrics[name].recovers)

    @property
    def engine(self) -> dict[str, Any]:
        """The settings for the runtime's engine."""
        return getattr(self.options, "engine", {})


def resolve(read: ReadRecipe, makes: bool = True) -> tuple[ResolvedRecipe | None, list[Problem]]:
    """What the names of a recipe mean, and everything that is wrong with them.

    The resolved recipe is None if its shape or its task is wrong. With other problems, it lacks the variants that
    could not be resolved, and is only used to find more problems.

    Args:
        makes: whether variants are quantized here. If not, neither quantizers' packages nor their samples are needed.
    """
    problems = list(read.problems)
    data, found = read.data, Inspection(problems, makes)
    task = found.named("task", data.get("task"), ("task",))
    options, kind = None, _kind(task, data.get("model"))
    if task is not None:
        options = found.options(task.Options, data.get("task_options"), ("task_options",))
        evaluation_checks.inspect(found, task, data.get("evaluation"))
        lm_eval_checks.inspect(found, task, data.get("evaluation"))
        decode = [engines.decodes_otherwise(data, variant) for _, variant in variants_of(data)]
        found.metrics(task, data.get("gates"), ("gates",), bool(decode) and all(decode))
        found.custom_objects(task, data)
        for samples in SAMPLES:
            found.columns(task, data.get(samples), (samples,))
        found.model(task, kind, data.get("model"))
    resolved: dict[Loc, tuple[Quantizer, Any, type[Runtime]]] = {}
    quantizers, names = [], list[str]()
    for where, variant in variants_of(data):
        found.name(variant, data, where, names)
        found.judging(variant, data, where)
        quantizer = found.quantizer(variant, where)
        if task is not None:
            found.metrics(task, variant.get("gates"), (*where, "gates"), engines.decodes_otherwise(data, variant))
        if quantizer is None:
            continue
        quantizers.append(quantizer)
        chosen = found.options(quantizer.Options, variant.get("options"), (*where, "options"))
        mixed_problems(found, task, quantizer, chosen, variant, data, where)
        if task is None or (runtime := found.runtime(quantizer, task, variant, where)) is None:
            continue
        found.fits(quantizer, kind, data, where)
        if chosen is not None:
            resolved[where] = quantizer(), chosen, runtime
            found.data(*resolved[where][:2], data, where)
    found.samples(quantizers, data)
    found.engine(options, {runtime for _, _, runtime in resolved.values()})
    recipe = read.recipe
    if recipe is None or task is None or options is None:
        return None, problems
    if recipe.calibration is not None:
        for key, told in task.calibration_problems(recipe.calibration).items():
            found.say(("calibration", key), told)
    places: list[Loc] = [("variants", number) for number in range(len(recipe.variants))]
    gates = [(place, recipe.gates_of(spec)) for place, spec in zip(places, recipe.variants, strict=True)]
    evaluation_checks.confident(found, recipe, task, gates)
    shared, folder = getattr(options, "engine", {}), read.document.folder
    own = {
        place: engines.merged(found, place, shared, spec.engine, resolved[place][2], folder)
        for place, spec in zip(places, recipe.variants, strict=True)
        if place in resolved
    }
    variants = [
        ResolvedVariant(spec, place, *resolved[place], recipe.gates_of(spec), own[place])
        for place, spec in zip(places, recipe.variants, strict=True)
        if place in resolved
    ]
    inputs = RecipeInputs(recipe, task)
    found.packages(task, task.name, ("task",))
    found.packages(inputs.model, "loading it", ("model",))
    return ResolvedRecipe(recipe, task, options, inputs, variants), problems


def _kind(task: type[Task] | None, model: Any) -> str:
    if isinstance(model, dict) and model.get("onnx"):
        return "onnx"
    return "checkpoint" if task is not None and task.on_disk else "module"
