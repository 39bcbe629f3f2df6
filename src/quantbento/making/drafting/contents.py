"""What a recipe says of one model: its task, samples, gates and variants, each with why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, one_of
from quantbento.inputs import checkpoint
from quantbento.inputs.source import NamedModel
from quantbento.making.drafting import arrays, generation, layers, task_choice
from quantbento.making.drafting.document import Place
from quantbento.making.drafting.facts import Facts, read
from quantbento.making.drafting.levels import LEVELS, gates
from quantbento.making.drafting.named import Named
from quantbento.making.drafting.request import Request
from quantbento.making.drafting.sampling import Sampling, texts
from quantbento.making.drafting.variant_choice import Choice, choose
from quantbento.quantizers.onnx import candidates
from quantbento.tasks.base import Metric, Task
from quantbento.tasks.source import SampleSet, SourceModel
from quantbento.tasks.tensor import graph


@dataclass
class Contents:
    """A recipe in the making.

    Attributes:
        recipe: by key, in order; paths are absolute.
        choice: the variants, and what was left out.
        about: the model, in words.
        comments: beside the values.
    """

    recipe: dict[str, Any]
    choice: Choice
    about: str
    comments: dict[Place, str] = field(default_factory=dict)


def contents(request: Request, found: Named, staging: Path) -> Contents:
    """The recipe for a model.

    Args:
        request: what is asked for.
        found: the model.
        staging: a folder for samples that stand in for the user's.

    Raises:
        QuantbentoError: no recipe for this model or with these samples would run.
    """
    model = NamedModel(found.spec)
    return (_of_folder if model.in_hub_format else _of_arrays)(request, found, model, staging)


def _of_arrays(request: Request, found: Named, model: NamedModel, staging: Path) -> Contents:
    """A module or a graph, which is loaded: that is the only way to know what it takes."""
    spec, comments = found.spec, dict[Place, str]()
    kind = "onnx" if spec.onnx else "module"
    task = model.task = task_choice.for_arrays(kind, request.task)
    source = model.load()
    if source.onnx is not None:
        _refuse_quantized(source.onnx)
    options = _labels(request, task)
    checked = task.Options.model_validate(options)
    sampling = Sampling(request, request.name or found.name, staging, comments)

    def make_up(half: int) -> Any:
        return arrays.made_up(source, task, checked, half)

    evaluation, samples = sampling.find("evaluation", task, request.labels or [], make_up)
    task.create(source, checked, SampleSet(samples.inputs[:2], samples.labels))
    choice = choose(task, kind, module=source.module, layers=layers.of(source))
    file = spec.onnx or spec.torchscript or spec.exported
    about = f"{file.name if file else spec.factory}, {_shape(samples)}"
    done = _assembled(request, found, task, options, task.metrics, evaluation, samples)
    if _calibrates(request, choice):
        done["calibration"], _ = sampling.find("calibration", task, [], make_up)
    return Contents(done, choice, about, comments | _why(request, task, task.metrics, samples, done["gates"]))


def _refuse_quantized(path: Path) -> None:
    import onnx

    graph.read(path)  # says what is wrong with a file that is no graph
    candidates.refuse_quantized(onnx.load(path, load_external_data=False).graph)


def _of_folder(request: Request, found: Named, model: NamedModel, staging: Path) -> Contents:
    """A model in hub format, whose configuration tells all and whose weights are not read."""
    facts = read(found, model)
    task = task_choice.for_folder(found, facts, request.task)
    comments: dict[Place, str] = {("task",): facts.architecture or ""}
    options, generates = _labels(request, task), task.contract == "tokens"
    labels = request.labels or (facts.labels if "labels" in task.Options.model_fields else [])
    made = task.create(SourceModel(folder=facts.folder), task.Options(), SampleSet([])) if generates else None
    sampling = Sampling(request, request.name or found.name, staging, comments)
    evaluation, samples = sampling.find("evaluation", task, labels, texts(task, made))
    if generates:
        options |= generation.windows(task, facts.folder, samples.inputs, facts.longest)
    choice = _choose(found, task, facts)
    metrics = task.measured({**facts.config, **options})
    done = _assembled(request, found, task, options, metrics, evaluation, samples)
    if _calibrates(request, choice):
        done["calibration"], given = sampling.find("calibration", task, [], texts(task, made))
        if generates:
            done["calibration"] |= generation.sequences(task, facts.folder, given.inputs, facts.longest)
    if generates:
        done["benchmark"] = generation.BENCHMARK
        if choice.has_engine and (settings := generation.engine(facts.longest)):
            done["task_options"] = {**options, "engine": settings}
            comments["task_options",] = f"the model takes {facts.longest} tokens, which needs much more memory"
    return Contents(done, choice, str(facts), comments | _why(request, task, metrics, samples, done["gates"]))


def _choose(found: Named, task: type[Task], facts: Facts) -> Choice:
    trust = found.spec.trust_remote_code
    if task.on_disk:
        return choose(task, "checkpoint", checkpoint.inspect(facts.folder, trust))
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(facts.folder, trust_remote_code=trust)
        with torch.device("meta"):
            module = getattr(transformers, str(task.auto_class)).from_config(config, trust_remote_code=trust)
    except Exception:  # a model's own code can raise anything; loading it for real says what
        module = None
    return choose(task, "module", module=module, layers=layers.of(SourceModel(module=module)))


def _calibrates(request: Request, choice: Choice) -> bool:
    if request.calibration and not choice.calibrating:
        names = ", ".join(variant["quantizer"] for variant in choice.variants)
        raise QuantbentoError(f"--calibration would have no effect: none of {names} calibrates; leave it out")
    return bool(choice.calibrating)


def _labels(request: Request, task: type[Task]) -> dict[str, Any]:
    """`task_options` with the names that the user gives."""
    if request.labels is None:
        return {}
    if "labels" not in task.Options.model_fields:
        raise QuantbentoError(f"--labels would have no effect: {task.name} names no classes; leave it out")
    return {"labels": request.labels}


def _assembled(
    request: Request,
    found: Named,
    task: type[Task],
    options: dict[str, Any],
    metrics: dict[str, Metric],
    evaluation: dict[str, Any],
    samples: SampleSet,
) -> dict[str, Any]:
    """The keys of a recipe, in their usual order; those without a value are left out when it is written."""
    return {
        "schema_version": 1,
        "name": request.name or found.name,
        "task": registry.name_of("task", task),
        "task_options": options,
        "model": found.spec.model_dump(exclude_defaults=True),
        "evaluation": evaluation,
        "calibration": None,
        "benchmark": None,
        "gates": gates(task, metrics, request.level, samples.labels is not None),
    }


def _why(
    request: Request, task: type[Task], metrics: dict[str, Metric], samples: SampleSet, wanted: dict[str, Any]
) -> dict[Place, str]:
    """Comments on the gates."""
    others = " or ".join(f"--level {level}" for level in LEVELS if level != request.level)
    told = f"A variant keeps at least {request.level} % of full precision's quality; {others} asks for another share."
    if "min" in wanted:
        told += " Here: of the energy of what the model gives, in decibels."
    better = [name for name in task.primary if name in metrics and metrics[name].labelled]
    if samples.labels is None and better:
        told += f" With labelled samples it would be of {one_of(better)}."
    return {("gates",): told}


def _shape(samples: SampleSet) -> str:
    """The inputs of one sample: `inputs x (3, 224, 224)`."""
    first = samples.inputs[0]
    given = first if isinstance(first, dict) else {"input": first}
    return "inputs " + ", ".join(f"{name} {np.shape(value)}" for name, value in given.items())
