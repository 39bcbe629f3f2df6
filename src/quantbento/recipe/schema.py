"""What a user writes: a model, samples to judge it on, and the quantized variants wanted of it.

`load_recipe` reads the YAML and raises one `RecipeError` that lists every problem, each with its place in
the file. It loads no model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, RecipeError, did_you_mean, one_of
from quantbento.recipe.document import Document, describe_errors

TAG_PATTERN = r"^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$"
TAG_LENGTH = 63  # BentoML's limit on a model's name
METRIC_RULES = ("min", "max", "max_drop", "min_recovery")  # the gates that name a metric

Factory = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:function")]
Name = Annotated[str, Field(pattern=TAG_PATTERN, max_length=TAG_LENGTH)]


def _existing(path: Path, info: ValidationInfo, kind: str) -> Path:
    """Relative paths start at the recipe's own folder, wherever the command was run."""
    base = (info.context or {}).get("base", Path())
    path = (base / path.expanduser()).resolve()
    if not (path.is_dir() if kind == "folder" else path.is_file()):
        raise ValueError(f"no such {kind}: {path}")
    return path


ExistingFile = Annotated[Path, AfterValidator(lambda p, info: _existing(p, info, "file"))]
ExistingFolder = Annotated[Path, AfterValidator(lambda p, info: _existing(p, info, "folder"))]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSpec(_Strict):
    """Where the full-precision model comes from; exactly one of the first five."""

    id: str | None = Field(None, description="a model on the hub, `owner/name`")
    path: ExistingFolder | None = Field(None, description="a local folder in hub format")
    package: str | None = Field(None, description="an installed distribution that carries the model")
    factory: Factory | None = Field(None, description="a Python function that returns the model")
    onnx: ExistingFile | None = Field(None, description="an ONNX file")
    revision: str | None = Field(None, description="of the hub model: a branch, tag or commit")
    subfolder: str = Field("", description="where the model lies inside the hub model, folder or package")
    adapter: ExistingFolder | None = Field(None, description="a PEFT LoRA adapter to merge into the model")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        kinds = ("id", "path", "package", "factory", "onnx")
        given = [k for k in kinds if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {one_of(kinds)} is needed, not {len(given) or 'none'}")
        if self.revision and not self.id:
            raise ValueError("revision goes with id")
        if self.subfolder and given[0] in ("factory", "onnx"):
            raise ValueError(f"subfolder does not go with {given[0]}")
        if self.adapter and given[0] == "onnx":
            raise ValueError("an adapter cannot be merged into an ONNX file; name the PyTorch model instead")
        return self


class Samples(_Strict):
    """Data to judge variants on; exactly one of path, dataset and factory."""

    path: ExistingFile | None = Field(None, description=".txt (a text a line), .jsonl, .csv or .npz")
    dataset: str | None = Field(None, description="a name for datasets.load_dataset")
    factory: Factory | None = Field(None, description="a Python function: inputs, or (inputs, labels)")
    config: str | None = Field(None, description="of the dataset")
    split: str = Field("test", description="of the dataset")
    text: str = Field("text", description="column of the texts")
    label: str = Field("label", description="column of the labels, used where it exists")
    count: int | None = Field(None, gt=0, description="how many to use; fewer than that is an error")

    @model_validator(mode="after")
    def _one_source(self) -> Samples:
        given = [k for k in ("path", "dataset", "factory") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of 'path', 'dataset' or 'factory' is needed, not {len(given) or 'none'}")
        return self


class Calibration(Samples):
    """Texts that quantizers calibrate on: one after the other, cut into sequences of equal length."""

    sequences: int = Field(128, gt=0, description="how many; fewer than that is an error")
    sequence_length: int = Field(512, gt=1, description="tokens of each")


class Benchmark(_Strict):
    """How speed is measured; see `quantbento.judging.benchmark`."""

    items: int = Field(64, gt=0, description="inputs a timed call")
    rounds: int = Field(15, ge=3, description="paired rounds")
    max_seconds: float = Field(60.0, gt=0, description="no further round after that, once there are five")
    latency_calls: int = Field(100, ge=10, description="timed calls with a single input")
    threads: int | None = Field(None, gt=0, description="CPU threads; all cores when left out")
    memory: bool = Field(True, description="measure peak memory, in a process of its own for each contender")
    paired: bool = Field(True, description="false: one model in memory at a time, where two do not fit")


class Gates(_Strict):
    """What a variant must keep. `max_drop` is absolute, `min_recovery` is variant / baseline."""

    min: dict[str, float] = {}
    max: dict[str, float] = {}
    max_drop: dict[str, Annotated[float, Field(ge=0)]] = {}
    min_recovery: dict[str, Annotated[float, Field(gt=0)]] = {}
    min_speedup: float | None = Field(None, gt=0)
    max_size_ratio: float | None = Field(None, gt=0)

    def merged(self, other: Gates) -> Gates:
        """These gates with the other's added; the other's limit wins for the same rule and metric."""
        mine, theirs = self.model_dump(exclude_none=True), other.model_dump(exclude_none=True)
        both = {
            rule: {**mine.get(rule, {}), **limit} if isinstance(limit, dict) else limit
            for rule, limit in theirs.items()
        }
        return Gates(**{**mine, **both})


class Variant(_Strict):
    name: Name
    quantizer: str
    options: dict[str, Any] = {}
    gates: Gates = Gates()


class Recipe(_Strict):
    schema_version: Literal[1]
    name: Name
    description: str = ""
    task: str
    task_options: dict[str, Any] = {}
    model: ModelSpec
    custom_objects: dict[str, Factory] = Field({}, description="Python objects that travel with the model")
    evaluation: Samples
    calibration: Calibration | None = None
    benchmark: Benchmark = Benchmark()
    gates: Gates = Field(Gates(), description="for every variant")
    labels: dict[str, str] = Field({}, description="stored with every variant")
    variants: list[Variant] = Field(min_length=1)

    def gates_of(self, variant: Variant) -> Gates:
        return self.gates.merged(variant.gates)

    def model_name(self, variant: Variant) -> str:
        """The variant's name in the model store."""
        return f"{self.name}-{variant.name}"


def load_recipe(source: str | Path | dict[str, Any] | Recipe) -> Recipe:
    """A checked recipe from a YAML file or a mapping of the same shape.

    Raises:
        RecipeError: with every problem found, each with its place (and line, in a file).
    """
    recipe, problems, where = read_recipe(source)
    if problems or recipe is None:
        raise RecipeError(problems, where)
    return recipe


def read_recipe(source: str | Path | dict[str, Any] | Recipe) -> tuple[Recipe | None, list[str], str]:
    """The recipe, what is wrong with it, and what to call it. There is one as long as its shape is right, whatever is
    wrong with its names and options: enough to look for more problems."""
    if isinstance(source, Recipe):
        return source, [], f"recipe {source.name!r}"
    document = Document.of(source)
    problems: list[tuple[tuple[str | int, ...], str]] = []
    recipe = None
    try:
        recipe = Recipe.model_validate(document.data, context={"base": document.folder})
    except ValidationError as error:
        problems += describe_errors(error, Recipe)
    problems += _semantic_problems(document.data)
    return recipe, document.lines(problems), document.name


def _semantic_problems(data: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """What pydantic cannot know: registered names, their options, metrics. Tolerates malformed parts,
    which are pydantic's to report, so that one run lists everything."""
    problems: list[tuple[tuple[str | int, ...], str]] = []
    task = _registered(problems, "task", registry.TASKS, data.get("task"), ("task",))
    if task:
        problems += _option_problems(task.Options, data.get("task_options"), ("task_options",))
        problems += _metric_problems(task.metrics, data.get("gates"), ("gates",))
        objects = data.get("custom_objects")
        if isinstance(objects, dict) and "preprocess" in objects and not task.takes_preprocess:
            told = f"{task.name} is served without it; put it into the tokenizer's chat template"
            problems.append((("custom_objects", "preprocess"), told))
    model = data.get("model")
    is_onnx = isinstance(model, dict) and "onnx" in model
    if is_onnx and task and not task.takes_onnx:
        problems.append((("model", "onnx"), f"task {task.name!r} needs a PyTorch model, not an ONNX file"))
    seen: set[str] = set()
    variants = data.get("variants")
    for i, variant in enumerate(variants if isinstance(variants, list) else []):
        if not isinstance(variant, dict):
            continue
        where = ("variants", i)
        name = str(variant.get("name"))
        if name in seen and "name" in variant:
            problems.append(((*where, "name"), f"{name!r} names two variants; each needs its own"))
        seen.add(name)
        if len(f"{data.get('name')}-{name}") > TAG_LENGTH:
            problems.append(
                (
                    (*where, "name"),
                    f"'{data.get('name')}-{name}' is longer than the model store's {TAG_LENGTH} characters",
                )
            )
        quantizer = _registered(
            problems, "quantizer", registry.QUANTIZERS, variant.get("quantizer"), (*where, "quantizer")
        )
        if quantizer:
            problems += _option_problems(quantizer.Options, variant.get("options"), (*where, "options"))
            if task and not registry.runtime_of(quantizer, task):
                problems.append(((*where, "quantizer"), _no_common_runtime(quantizer, task)))
            if quantizer.needs_calibration and not data.get("calibration"):
                problems.append(((*where, "quantizer"), f"{quantizer.name!r} calibrates on data: add `calibration:`"))
            if is_onnx and not quantizer.takes_onnx:
                problems.append(((*where, "quantizer"), f"{quantizer.name!r} needs a PyTorch model, not an ONNX file"))
        if task:
            problems += _metric_problems(task.metrics, variant.get("gates"), (*where, "gates"))
    return problems


def _no_common_runtime(quantizer: Any, task: Any) -> str:
    fitting = [name for name in registry.QUANTIZERS if registry.runtime_of(registry.quantizer(name), task)]
    return (
        f"{quantizer.name!r} writes models for {one_of(quantizer.runtimes)}, which do not run {task.name} "
        f"(quantizers that do: {one_of(fitting)})"
    )


def _registered(problems: list, kind: str, table: dict[str, str], name: Any, where: tuple) -> Any:
    if not isinstance(name, str):
        return None
    try:
        return registry.lookup(kind, table, name)
    except QuantbentoError as error:
        problems.append((where, str(error)))
        return None


def _option_problems(options: type[BaseModel], given: Any, where: tuple) -> list[tuple[tuple, str]]:
    try:
        options.model_validate(given if isinstance(given, dict) else {})
    except ValidationError as error:
        return [((*where, *loc), message) for loc, message in describe_errors(error, options)]
    return []


def _metric_problems(metrics: dict[str, Any], gates: Any, where: tuple) -> list[tuple[tuple, str]]:
    problems = []
    for rule in METRIC_RULES:
        limits = gates.get(rule) if isinstance(gates, dict) else None
        for metric in limits if isinstance(limits, dict) else ():
            if metric not in metrics:
                hint = did_you_mean(str(metric), metrics) + f" (this task has {one_of(metrics)})"
                problems.append(((*where, rule, metric), f"unknown metric {metric!r}{hint}"))
            elif rule == "min_recovery" and not metrics[metric].recovers:
                problems.append(
                    (
                        (*where, rule, metric),
                        f"{metric!r} is 0 for the baseline, it has no recovery; use max or max_drop",
                    )
                )
    return problems
