"""Checks of a recipe's names, options, metrics, samples and packages, one method per check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from quantbento.core import machine, registry
from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.judging.decoding_gates import NAMES as DECODING
from quantbento.judging.decoding_gates import RULES as DECODING_RULES
from quantbento.recipe import TAG_LENGTH
from quantbento.recipe.document import Loc, Problem, describe_errors
from quantbento.recipe.evaluation import PAIR_FIELDS
from quantbento.recipe.gates import METRIC_RULES
from quantbento.runtimes.artifact import installs
from quantbento.runtimes.base import Runtime
from quantbento.tasks.base import Metric, Task


def variants_of(data: Mapping[str, Any]) -> list[tuple[Loc, Mapping[str, Any]]]:
    """The variants that are mappings, with their places in the recipe."""
    variants = data.get("variants")
    listed = variants if isinstance(variants, list) else []
    return [(("variants", i), variant) for i, variant in enumerate(listed) if isinstance(variant, dict)]


class Inspection:
    """Collects what is wrong. Each method checks one thing, in data of any shape, and returns what it found there."""

    def __init__(self, problems: list[Problem], makes: bool = True) -> None:
        self.problems, self.makes = problems, makes
        self.more: dict[str, Metric] = {}  # metrics of this recipe that gates may name beside the task's

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
        """The options without the wrong ones; None if the others do not go together."""
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

    def metrics(self, task: type[Task], gates: Any, where: Loc, decodes: bool = False) -> None:
        """Reports metrics that are not measured, or not as a rule needs them. `decodes`: whether the engines of all
        variants that these gates are for have settings that are judged (`quantbento.making.engines`)."""
        known = {**task.metrics, **self.more, **(dict.fromkeys(DECODING, Metric(+1)) if decodes else {})}
        for rule in METRIC_RULES:
            limits = gates.get(rule) if isinstance(gates, dict) else None
            for metric in limits if isinstance(limits, dict) else ():
                place = (*where, rule, metric)
                if metric in DECODING and not decodes:
                    told = "is of variants with speculative_config or enable_prefix_caching in `engine:`"
                    self.say(place, f"{metric!r} {told}; move it to the gates of those")
                elif metric not in known:
                    hint = did_you_mean(str(metric), known) + f" (this task has {one_of(known)})"
                    self.say(place, f"unknown metric {metric!r}{hint}")
                elif rule == "min_recovery" and not known[metric].recovers:
                    told = f"{metric!r} is 0 for the baseline, it has no recovery; use max or max_drop"
                    self.say(place, told)
                elif metric in DECODING and rule not in DECODING_RULES:
                    self.say(place, f"{metric!r} has no value of the baseline; use {one_of(DECODING_RULES)}")

    def model(self, task: type[Task], kind: str, model: Any) -> None:
        """Reports a model of a kind that the task does not take."""
        if kind == "onnx" and kind not in task.starts_from:
            self.say(("model", "onnx"), f"task {task.name!r} needs a PyTorch model, not an ONNX file")
        for key in ("torchscript", "exported", "picklable", "weights"):
            if task.auto_class and isinstance(model, dict) and model.get(key):
                told = f"task {task.name!r} needs a folder in hub format, for more than the weights is read from it"
                self.say(("model", key), f"{told}; `{key}` is for the task 'tensor'")

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
        """The quantizer's class, even if packages it needs are missing."""
        where = (*where, "quantizer")
        quantizer = self.named("quantizer", variant.get("quantizer"), where)
        if quantizer is not None and self.makes:
            self.packages(quantizer, variant["quantizer"], where, _label(variant))
            self._device(quantizer, variant["quantizer"], where)
        return quantizer

    def runtime(self, quantizer: Any, task: type[Task], variant: Mapping[str, Any], where: Loc) -> Any:
        """The class of the runtime that will serve it, even if packages it needs are missing."""
        where = (*where, "quantizer")
        try:
            runtime = registry.runtime_of(quantizer, task)
        except QuantbentoError as error:
            self.say(where, str(error))
            return None
        if runtime is None:
            self.say(where, _no_common_runtime(quantizer, task))
        elif variant.get("judge") != "none" and (not self.makes or machine.devices() & set(quantizer.devices)):
            # Where nothing loads it, nothing is missing; where it cannot even be made, the rest is of no use.
            self.packages(runtime, f"its runtime {runtime.name}", where, _label(variant))
            self._device(runtime, f"its runtime {runtime.name}", where)
        return runtime

    def _device(self, declared: Any, what: str, where: Loc) -> None:
        """Checks this machine's devices against those that a quantizer or a runtime declares."""
        if not (here := machine.devices()) & set(declared.devices):
            needed, has = one_of(declared.devices), one_of(sorted(here))
            self.say(where, f"{what} needs a device of the kind {needed}; this machine has {has}")

    def packages(self, declared: Any, what: str, where: Loc, label: str | None = None) -> None:
        """Checks that the packages of a part are installed."""
        if missing := machine.missing_packages(declared.modules):
            command = installs(declared, " ".join(missing))
            told = f"{what} needs {', '.join(missing)}, not installed here; run: pip install {command}"
            self.problems.append(Problem(where, told, label, command))

    def judging(self, variant: Mapping[str, Any], data: Mapping[str, Any], where: Loc) -> None:
        """Reports what has to be judged here, of a variant that is not."""
        if variant.get("judge") != "none":
            return
        for key in ("mixed", "on_fail"):
            if variant.get(key):
                self.say((*where, key), "it is decided by judging, so it does not go with judge: none; leave one out")
        ablate = data.get("ablate")
        if isinstance(ablate, dict) and ablate.get("variant") == variant.get("name"):
            self.say(("ablate", "variant"), f"{variant.get('name')!r} is not judged here (judge: none); leave one out")

    def fits(self, quantizer: Any, kind: str, data: Mapping[str, Any], where: Loc) -> None:
        where = (*where, "quantizer")
        if kind not in quantizer.starts_from:
            needed = "a PyTorch model" if kind == "onnx" else one_of(quantizer.starts_from)
            given = "an ONNX file" if kind == "onnx" else repr(kind)
            self.say(where, f"{quantizer.name!r} needs {needed}, not {given}")

    def data(self, quantizer: Any, options: Any, data: Mapping[str, Any], where: Loc) -> None:
        if self.makes and (kind := quantizer.needs(options)) and not data.get(kind):
            verb = {"calibration": "calibrates", "training": "trains"}[kind]
            what = f"{quantizer.name!r} {verb} on data" + ("" if quantizer.data else " with these options")
            self.say((*where, "quantizer"), f"{what}: add `{kind}:`")

    def samples(self, quantizers: list[Any], data: Mapping[str, Any]) -> None:
        """Reports samples that no quantizer uses."""
        for kind in ("calibration", "training"):
            ranks = kind == "calibration" and any(v.get("mixed") or v.get("on_fail") for _, v in variants_of(data))
            used = ranks or any(quantizer.reads(kind) for quantizer in quantizers)
            if self.makes and data.get(kind) and quantizers and not used:
                names = ", ".join(dict.fromkeys(quantizer.name for quantizer in quantizers))
                self.say((kind,), f"no quantizer of this recipe ({names}) needs {kind} samples; leave it out")

    def columns(self, task: type[Task], samples: Any, where: Loc) -> None:
        """Reports columns of samples that the task does not read."""
        given = samples if isinstance(samples, dict) else {}
        is_pairs = given.get("kind") == "pairs" and where == ("evaluation",)
        columns, known = given.get("columns"), PAIR_FIELDS if is_pairs else (*task.fields, "label")
        named: list[Loc] = [("columns", name) for name in columns] if isinstance(columns, dict) else []
        named += [("text",)] if "text" in given else []
        for place in named:
            if (name := place[-1]) not in known:
                reader = "kind 'pairs'" if is_pairs else f"task {task.name!r}"
                told = f"{reader} reads no field {name!r}{did_you_mean(str(name), known)}"
                self.say((*where, *place), f"{told} (it reads {one_of(known)})")

    def engine(self, options: Any, runtimes: Iterable[type[Runtime]]) -> None:
        """Checks engine settings against every runtime that has settings."""
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


def _no_common_runtime(quantizer: Any, task: type[Task]) -> str:
    every = ((name, registry.quantizer(name)) for name in registry.QUANTIZERS)
    fitting = [name for name, other in every if registry.runtime_of(other, task) is not None]
    return (
        f"{quantizer.name!r} writes models for {one_of(quantizer.runtimes)}, which do not run {task.name} "
        f"(quantizers that do: {one_of(fitting)})"
    )


def _label(variant: Mapping[str, Any]) -> str:
    return f"variant {variant.get('name')!r}"
