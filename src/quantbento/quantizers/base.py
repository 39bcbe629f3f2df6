"""The contract of a quantizer."""

from __future__ import annotations

import glob
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from quantbento.core.errors import QuantbentoError, did_you_mean
from quantbento.core.machine import saturates
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.inputs.job import Job
from quantbento.tasks.source import SourceKind

logger = logging.getLogger("quantbento")
Data = Literal["calibration", "training"]
Layers = Literal["linear", "convolution"]


class QuantizerOptions(BaseModel):
    """A quantizer without options of its own. A field of the type `quantbento.core.user_code.UserCode` names one of the
    user's functions, and its source becomes part of the fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Quantized:
    """What was done, counted in the result.

    Attributes:
        runtime_config: what the runtime needs to load it, as JSON.
        counts: quantized layers or nodes, by kind.
        quantized_parameters, parameters: how many are in few bits now, and how many the model has.
        left_out: layers that were chosen but stayed in full precision.
        notes: what else a reader of the report should know: what could not be done, and what was done instead.
        weight_ratio: bytes of the quantized weights with their scales / bytes of the same weights in the source.
        peak_memory_bytes: resident memory of the process that quantized, where it is known.
    """

    runtime_config: dict[str, Any]
    counts: dict[str, int]
    quantized_parameters: int
    parameters: int
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    weight_ratio: float | None = None
    peak_memory_bytes: int | None = None


class Quantizer(ABC):
    """How a model is quantized.

    Attributes:
        name: what recipes, manifests and reports call it.
        scheme: what it makes, as compressed-tensors names its schemes.
        runtimes: runtimes that can serve what it writes, the preferred one first. The first that has the task's
            contract is used.
        starts_from: kinds of full-precision models it takes.
        data: what it needs besides the model: nothing, calibration samples, or training samples. It never gets the
            samples that its result is judged on.
        optional_data: what it makes use of where a recipe has it.
        modules: the import names it needs, checked before any work starts.
        distributions: packages whose versions decide what it makes; part of the variant's fingerprint.
        extra: this project's extra that installs them; None where another package brings the quantizer.
        devices: devices it can work on, as PyTorch calls them.
        runs_on: kinds of devices that can run what it makes; None: all of the runtime's.
        Options: the schema of a variant's `options`; unknown keys are refused, and every option has a default.
        quickest: options that only take time, with the least that still runs; a rehearsal uses them.
        keeps: the option that lists fnmatch patterns of layers to keep in full precision, if there is one.
        raises: the option that lists fnmatch patterns of layers in 8 bit where the others have 4, if there is one.
        rescales: whether it moves scales between neighbouring layers, so that a layer's weights are the source's up to
            a scale per row and column.
        usual_for: `quantbento init` proposes it for models whose weights are mostly in such layers.
        takes_adapters: whether LoRA adapters can run beside what it makes, where its runtime has them.
    """

    declares: ClassVar[tuple[str, ...]] = ("name", "scheme", "runtimes", "starts_from", "modules", "distributions")

    name: ClassVar[str]
    scheme: ClassVar[str]
    runtimes: ClassVar[tuple[str, ...]]
    starts_from: ClassVar[tuple[SourceKind, ...]]
    data: ClassVar[Data | None] = None
    optional_data: ClassVar[Data | None] = None
    modules: ClassVar[tuple[str, ...]]
    distributions: ClassVar[tuple[str, ...]]
    extra: ClassVar[str | None] = None
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    runs_on: ClassVar[tuple[str, ...] | None] = None
    Options: ClassVar[type[QuantizerOptions]] = QuantizerOptions
    quickest: ClassVar[dict[str, Any]] = {}
    keeps: ClassVar[str | None] = None
    raises: ClassVar[str | None] = None
    rescales: ClassVar[bool] = False
    usual_for: ClassVar[tuple[Layers, ...]] = ("linear", "convolution")
    takes_adapters: ClassVar[bool] = True

    def needs(self, options: Any) -> Data | None:
        """The samples that it cannot do without, with these options; by default `data`."""
        return self.data

    @classmethod
    def reads(cls, kind: str) -> bool:
        """Whether it uses samples of this kind."""
        return kind in (cls.data, cls.optional_data)

    def devices_of_result(self, runtime: Any, options: Any) -> tuple[str, ...]:
        """The kinds of devices that can run what it makes for a runtime."""
        return runtime.devices if self.runs_on is None else tuple(d for d in runtime.devices if d in self.runs_on)

    def serving_needs(self, options: Any) -> str | None:
        """What a device needs to run what it makes, in one line for the plan; None where that is the runtime's
        business alone."""
        return None

    def serving_problem(self, options: Any) -> str | None:
        """Why the runtime, installed as it is, cannot run what it makes on this machine; None where it can."""
        return None

    @classmethod
    def made_on_first_use(cls) -> str | None:
        """What the first run has to make before it can quantize, such as an environment; None where nothing."""
        return None

    def scheme_of(self, options: Any) -> str:
        """What the report and the store call the result, as compressed-tensors names its schemes."""
        return self.scheme

    def preflight(self, model: CheckpointFacts, options: Any) -> list[str]:
        """Reasons why a checkpoint cannot be quantized, or served anywhere, found before its weights are read."""
        return []

    def unservable(self, model: CheckpointFacts, options: Any) -> list[str]:
        """Reasons why this machine cannot serve what it makes of a checkpoint. They do not matter for a variant that is
        judged on another machine."""
        return []

    def memory_bytes(self, model: CheckpointFacts, options: Any) -> int | None:
        """The estimated peak of resident memory while it quantizes a checkpoint; None where it holds the model."""
        return None

    def weight_bytes(self, model: CheckpointFacts, options: Any) -> int | None:
        """What the weights of a checkpoint take once they are quantized, with their scales; None where it cannot tell
        before."""
        return None

    def preflight_module(self, module: Any, options: Any) -> list[str]:
        """Reasons why a PyTorch module cannot be quantized. It may have no weights: its tensors may be on `meta`."""
        return []

    def layers(self, job: Job, options: Any) -> dict[str, int]:
        """The layers or nodes that would be quantized with these options, with the number of their weights; 0 for what
        only rounds activations. They are named by fnmatch patterns as the options take them: `a[0]` is `a[[]0]`, and
        layers that have to be quantized alike share one pattern. Empty where it cannot tell them apart; then there is
        neither sensitivity nor mixed precision.

        A graph is taken as the job has it, so prove it first (`quantbento.judging.canonical.prove`)."""
        return {}

    def keeping(self, options: Any, names: Sequence[str]) -> Any:
        """The options with these layers, by their names in `layers`, kept in full precision."""
        if self.keeps is None:
            raise QuantbentoError(f"{self.name} cannot keep single layers in full precision")
        return options.model_copy(update={self.keeps: [*getattr(options, self.keeps), *names]})

    def raising(self, options: Any, names: Sequence[str]) -> Any:
        """The options with these layers, by their names in `layers`, in 8 bit where the others have 4."""
        if self.raises is None:
            raise QuantbentoError(f"{self.name} cannot put single layers into 8 bit")
        return options.model_copy(update={self.raises: [*getattr(options, self.raises), *names]})

    def weight_bits(self, options: Any) -> dict[int, float]:
        """What a layer's weights can have besides full precision, the fewest bits first: bits, and the same with scales
        and zero points. Mixed precision takes layers from one to the next."""
        return {8: 8.0}

    @abstractmethod
    def quantize(self, job: Job, options: Any, folder: Path) -> Quantized:
        """Writes the quantized model into `folder`. The source is not changed.

        Raises:
            QuantbentoError: nothing was quantized, or the model does not allow it.
        """


def warn_if_products_saturate(reduce_range: bool) -> None:
    """Says so where INT8 products are cut off on this CPU, and nothing was done about it."""
    if not reduce_range and saturates():
        logger.warning("this CPU has no VNNI: 8-bit products saturate; set reduce_range: true")


def exactly(names: Iterable[str]) -> list[str]:
    """For each name, the fnmatch pattern that matches it alone."""
    return [glob.escape(name) for name in names]


def select(names: Iterable[str], include: Sequence[str], exclude: Sequence[str], what: str) -> list[str]:
    """The names that match a pattern of `include` and none of `exclude` (fnmatch, case sensitive).

    Raises:
        QuantbentoError: a pattern matches nothing; otherwise it would be ignored silently.
    """
    names = list(names)
    for pattern in [*include, *exclude]:
        if pattern != "*" and not any(fnmatchcase(n, pattern) for n in names):
            hint = did_you_mean(pattern, names) or f" (for example {', '.join(names[:3]) or 'there are none'})"
            raise QuantbentoError(f"the pattern {pattern!r} matches no {what}{hint}")
    return [n for n in names if any(fnmatchcase(n, p) for p in include) and not any(fnmatchcase(n, p) for p in exclude)]
