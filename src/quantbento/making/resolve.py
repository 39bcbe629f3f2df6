"""Every name of a recipe, resolved once. Nothing after this looks one up again.

What is wrong with names, options, metrics and packages is found here, in one pass over what was given: a recipe whose
shape is wrong in one place is still looked at in all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.core.machine import missing_packages
from quantbento.inputs.recipe_inputs import RecipeInputs
from quantbento.quantizers.base import Quantizer
from quantbento.recipe import TAG_LENGTH, Gates, Recipe, Variant
from quantbento.recipe.document import Loc, Problem, describe_errors
from quantbento.recipe.gates import METRIC_RULES
from quantbento.recipe.reading import ReadRecipe
from quantbento.runtimes.artifact import installs
from quantbento.runtimes.base import Runtime
from quantbento.tasks.base import Task


@dataclass(frozen=True)
class ResolvedVariant:
    """A variant with everything its names stand for.

    Attributes:
        spec: what the recipe says.
        place: where it stands there.
        options: checked. Of a recipe with problems, those that are right.
        gates: the recipe's and its own.
    """

    spec: Variant
    place: Loc
    quantizer: Quantizer
    options: Any
    runtime: type[Runtime]
    gates: Gates

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def scheme(self) -> str:
        return self.quantizer.scheme_of(self.options)


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with everything its names stand for. `options` are the task's."""

    recipe: Recipe
    task: type[Task]
    options: Any
    inputs: RecipeInputs
    variants: list[ResolvedVariant]

    @property
    def engine(self) -> dict[str, Any]:
        """Settings of the runtime's engine."""
        return getattr(self.options, "engine", {})


def resolve(read: ReadRecipe) -> tuple[ResolvedRecipe | None, list[Problem]]:
    """What the names of a recipe stand for, and all that is wrong with them.

    There is no resolved recipe where its shape or its task is wrong. One that has other problems lacks the variants
    that could not be resolved; it is good for finding more problems.
    """
    problems = list(read.problems)
    data, found = read.data, _Found(problems)
    task = found.named("task", data.get("task"), ("task",))
    if task is None:
        for where, variant in _variants(data):
            found.quantizer(variant, where)
        return None, problems
    options = found.options(task.Options, data.get("task_options"), ("task_options",))
    found.metrics(task, data.get("gates"), ("gates",))
    found.custom_objects(task, data)
    kind = _kind(task, data.get("model"))
    if kind not in task.starts_from and kind == "onnx":
        found.say(("model", "onnx"), f"task {task.name!r} needs a PyTorch model, not an ONNX file")
    resolved: dict[Loc, tuple[Quantizer, Any, type[Runtime]]] = {}
    quantizers, names = [], list[str]()
    for where, variant in _variants(data):
        found.name(variant, data, where, names)
        found.metrics(task, variant.get("gates"), (*where, "gates"))
        quantizer = found.quantizer(variant, where)
        if quantizer is None:
            continue
        quantizers.append(quantizer)
        chosen = found.options(quantizer.Options, variant.get("options"), (*where, "options"))
        runtime = found.runtime(quantizer, task, variant, where)
        if runtime is None:
            continue
        found.fits(quantizer, kind, data, where)
        if chosen is not None:
            resolved[where] = quantizer(), chosen, runtime
    found.samples(quantizers, data)
    found.engine(options, {runtime for _, _, runtime in resolved.values()})
    recipe = read.recipe
    if recipe is None or options is None:
        return None, problems
    if recipe.calibration is not None:
        for key, told in task.calibration_problems(recipe.calibration).items():
            found.say(("calibration", key), told)
    places: list[Loc] = [("variants", number) for number in range(len(recipe.variants))]
    variants = [
        ResolvedVariant(spec, place, *resolved[place], recipe.gates_of(spec))
        for place, spec in zip(places, recipe.variants, strict=True)
        if place in resolved
    ]
    inputs = RecipeInputs(recipe, task)
    if missing := missing_packages(inputs.model.modules):
        told = f"loading it needs {', '.join(missing)}, not installed here; run: pip install 'quantbento[quantize]'"
        found.say(("model",), told)
    return ResolvedRecipe(recipe, task, options, inputs, variants), problems


class _Found:
    """Looks at one thing after the other, and collects what is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def say(self, where: Loc, message: str, label: str | None = None) -> None:
        self.problems.append(Problem(where, message, label))

    def named(self, kind: str, name: Any, where: Loc) -> Any:
        if not isinstance(name, str):
            return None  # the shape is wrong
        try:
            return registry.lookup(kind, name)
        except QuantbentoError as error:
            self.say(where, str(error))
            return None

    def options(self, options: type[BaseModel], given: Any, where: Loc) -> Any:
        """The options without those that are wrong; None where they do not go together."""
        given = given if isinstance(given, dict) else {}
        try:
            return options.model_validate(given)
        except ValidationError as error:
            told = describe_errors(error, options)
        for problem in told:
            self.say((*where, *problem.loc), problem.message)
        wrong = {problem.loc[0] for problem in told if problem.loc}
        try:
            return options.model_validate({name: value for name, value in given.items() if name not in wrong})
        except ValidationError:
            return None

    def metrics(self, task: type[Task], gates: Any, where: Loc) -> None:
        for rule in METRIC_RULES:
            limits = gates.get(rule) if isinstance(gates, dict) else None
            for metric in limits if isinstance(limits, dict) else ():
                place = (*where, rule, metric)
                if metric not in task.metrics:
                    hint = did_you_mean(str(metric), task.metrics) + f" (this task has {one_of(task.metrics)})"
                    self.say(place, f"unknown metric {metric!r}{hint}")
                elif rule == "min_recovery" and not task.metrics[metric].recovers:
                    told = f"{metric!r} is 0 for the baseline, it has no recovery; use max or max_drop"
                    self.say(place, told)

    def custom_objects(self, task: type[Task], data: Mapping[str, Any]) -> None:
        objects = data.get("custom_objects")
        if isinstance(objects, dict) and "preprocess" in objects and not task.takes_preprocess:
            told = f"{task.name} is served without it; put it into the tokenizer's chat template"
            self.say(("custom_objects", "preprocess"), told)

    def name(self, variant: Mapping[str, Any], data: Mapping[str, Any], where: Loc, before: list[str]) -> None:
        name = str(variant.get("name"))
        if "name" in variant and name in before:
            self.say((*where, "name"), f"{name!r} names two variants; each needs its own")
        before.append(name)
        stored = f"{data.get('name')}-{name}"
        if len(stored) > TAG_LENGTH:
            self.say((*where, "name"), f"{stored!r} is longer than the model store's {TAG_LENGTH} characters")

    def quantizer(self, variant: Mapping[str, Any], where: Loc) -> Any:
        """Its class, also where packages of it are missing."""
        quantizer = self.named("quantizer", variant.get("quantizer"), (*where, "quantizer"))
        if quantizer is not None and (missing := missing_packages(quantizer.modules)):
            what = f"{variant['quantizer']} needs {', '.join(missing)}"
            self._missing(quantizer, what, missing, variant, (*where, "quantizer"))
        return quantizer

    def runtime(self, quantizer: Any, task: type[Task], variant: Mapping[str, Any], where: Loc) -> Any:
        """The class of the runtime that will serve it, also where packages of it are missing."""
        where = (*where, "quantizer")
        try:
            runtime = registry.runtime_of(quantizer, task)
        except QuantbentoError as error:
            self.say(where, str(error))
            return None
        if runtime is None:
            self.say(where, _no_common_runtime(quantizer, task))
        elif missing := missing_packages(runtime.modules):
            what = f"its runtime {runtime.name} needs {', '.join(missing)}"
            self._missing(runtime, what, missing, variant, where)
        return runtime

    def _missing(self, declared: Any, what: str, missing: list[str], variant: Mapping[str, Any], where: Loc) -> None:
        told = f"{what}, not installed here; run: pip install {installs(declared, ' '.join(missing))}"
        self.say(where, told, f"variant {variant.get('name')!r}")

    def fits(self, quantizer: Any, kind: str, data: Mapping[str, Any], where: Loc) -> None:
        where = (*where, "quantizer")
        if kind not in quantizer.starts_from:
            needed = "a PyTorch model" if kind == "onnx" else one_of(quantizer.starts_from)
            given = "an ONNX file" if kind == "onnx" else repr(kind)
            self.say(where, f"{quantizer.name!r} needs {needed}, not {given}")
        if quantizer.data and not data.get(quantizer.data):
            verb = {"calibration": "calibrates", "training": "trains"}[quantizer.data]
            self.say(where, f"{quantizer.name!r} {verb} on data: add `{quantizer.data}:`")

    def samples(self, quantizers: list[Any], data: Mapping[str, Any]) -> None:
        """Samples that nothing would look at."""
        for kind in ("calibration", "training"):
            if data.get(kind) and quantizers and not any(quantizer.data == kind for quantizer in quantizers):
                names = ", ".join(dict.fromkeys(quantizer.name for quantizer in quantizers))
                self.say((kind,), f"no quantizer of this recipe ({names}) needs {kind} samples; leave it out")

    def engine(self, options: Any, runtimes: Iterable[type[Runtime]]) -> None:
        """Settings of an engine go to the runtimes that have some."""
        if not (given := getattr(options, "engine", None)):
            return
        with_settings = [runtime for runtime in runtimes if runtime.Settings is not None]
        where = ("task_options", "engine")
        if not with_settings:
            served = ", ".join(sorted(runtime.name for runtime in runtimes)) or "no runtime"
            self.say(where, f"the variants are served by {served}, which has no settings; leave it out")
        for runtime in with_settings:
            assert runtime.Settings is not None
            self.options(runtime.Settings, given, where)


def _variants(data: Mapping[str, Any]) -> list[tuple[Loc, Mapping[str, Any]]]:
    """Those that are mappings, with their places."""
    variants = data.get("variants")
    listed = variants if isinstance(variants, list) else []
    return [(("variants", i), variant) for i, variant in enumerate(listed) if isinstance(variant, dict)]


def _kind(task: type[Task], model: Any) -> str:
    if isinstance(model, dict) and model.get("onnx"):
        return "onnx"
    return "checkpoint" if task.on_disk else "module"


def _no_common_runtime(quantizer: Any, task: type[Task]) -> str:
    every = ((name, registry.quantizer(name)) for name in registry.QUANTIZERS)
    fitting = [name for name, other in every if registry.runtime_of(other, task) is not None]
    return (
        f"{quantizer.name!r} writes models for {one_of(quantizer.runtimes)}, which do not run {task.name} "
        f"(quantizers that do: {one_of(fitting)})"
    )
