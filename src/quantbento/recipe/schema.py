"""The shape of a recipe. The plan checks whether its names are known, its options right and its files complete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from quantbento.core.devices import Device
from quantbento.core.user_code import UserCode
from quantbento.recipe.ablation import Ablate
from quantbento.recipe.evaluation import Evaluation
from quantbento.recipe.gates import Gates
from quantbento.recipe.inputs import Calibration, ModelSpec, Samples
from quantbento.recipe.mixed import Mixed
from quantbento.recipe.strict import Strict

TAG_PATTERN = r"^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$"
TAG_LENGTH = 63  # BentoML's limit on a model's name

Name = Annotated[str, Field(pattern=TAG_PATTERN, max_length=TAG_LENGTH)]


class Benchmark(Strict):
    """How speed is measured; see `quantbento.judging.benchmark`."""

    items: int = Field(64, gt=0, description="inputs per timed call")
    rounds: int = Field(15, ge=3, description="paired rounds")
    max_seconds: float = Field(60.0, gt=0, description="no new round after this time, once five are done")
    latency_calls: int = Field(100, ge=10, description="timed calls with a single input")
    threads: int | None = Field(None, gt=0, description="CPU threads; all cores when left out")
    device: Device = Field("auto", description="cpu, cuda, cuda:N, xpu; auto: a GPU that every variant can use, or cpu")
    compile: bool = Field(False, description="measure compiled full precision in bfloat16 too; takes a minute")
    memory: bool = Field(True, description="measure load time and peak memory, in a separate process each")
    paired: bool = Field(True, description="false: one model in memory at a time, where two do not fit")


class Variant(Strict):
    name: Name
    quantizer: str
    options: dict[str, Any] = {}
    engine: dict[str, Any] = Field({}, description="settings of its engine beside task_options.engine")
    gates: Gates = Gates()
    mixed: Mixed | None = Field(None, description="layers get more bits until a goal holds")
    judge: Literal["none"] | None = Field(None, description="none: made, checked and stored here, judged elsewhere")
    on_fail: Literal["mixed"] | None = Field(None, description="mixed: repair a variant whose gate on a metric failed")

    def ranks_on(self, kind: str) -> bool:
        """Whether samples of this kind decide which layers get more bits."""
        return kind == "calibration" and bool(self.mixed or self.on_fail)


class Recipe(Strict):
    schema_version: Literal[1]
    name: Name
    description: str = ""
    task: str
    task_options: dict[str, Any] = {}
    model: ModelSpec
    custom_objects: dict[str, UserCode] = Field({}, description="Python objects that travel with the model")
    evaluation: Evaluation = Field(description="samples that variants are judged on; no quantizer sees them")
    calibration: Calibration | None = Field(None, description="samples that quantizers calibrate on")
    training: Samples | None = Field(None, description="samples that quantizers train on")
    benchmark: Benchmark = Benchmark()
    gates: Gates = Field(Gates(), description="for every variant")
    ablate: Ablate | None = Field(None, description="parts of a variant that are turned off one by one")
    labels: dict[str, str] = Field({}, description="stored with every variant")
    variants: list[Variant] = Field(min_length=1)

    def gates_of(self, variant: Variant) -> Gates:
        own = self.gates.merged(variant.gates)
        return own.merged(variant.mixed.gates) if variant.mixed else own  # a goal that does not hold is a failed gate

    def model_name(self, variant: Variant) -> str:
        """The variant's name in the model store."""
        return f"{self.name}-{variant.name}"
