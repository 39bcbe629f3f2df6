"""Which quantizers are worth a variant here: those that take this kind of model, with options that fit its layers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from quantbento.core import machine, registry
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.quantizers.base import Layers
from quantbento.tasks.base import Task

GROUP_SIZES = (128, 64, 32, 16)
OTHER_KIND = "for other kinds of models"


@dataclass
class Choice:
    """The variants of a recipe for a task, and by reason the quantizers that are left out."""

    task: type[Task]
    variants: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, quantizer: str, reason: str) -> None:
        """Takes a quantizer's variant away, if there is one, and keeps why."""
        self.variants = [v for v in self.variants if v["quantizer"] != quantizer]
        self.left_out.setdefault(reason, []).append(quantizer)

    @property
    def calibrating(self) -> list[str]:
        """The quantizers of the variants that need calibration samples."""
        names = [variant["quantizer"] for variant in self.variants]
        return [name for name in names if registry.quantizer(name).data == "calibration"]

    @property
    def has_engine(self) -> bool:
        """Whether a variant is served by an engine with settings."""
        quantizers = (registry.quantizer(variant["quantizer"]) for variant in self.variants)
        return any(registry.runtime_of(quantizer, self.task).Settings for quantizer in quantizers)


def choose(
    task: type[Task],
    kind: str,
    checkpoint: CheckpointFacts | None = None,
    module: Any = None,
    layers: Layers = "linear",
) -> Choice:
    """The variants that this kind of model can have. Whether this machine has what they need is not looked at here: the
    checks of a dry run do that.

    Args:
        kind: what the model is, in the words of `Quantizer.starts_from`.
        checkpoint: the layers of a model that stays on disk.
        module: a model that is held in memory; it may have no weights.
        layers: what most of its weights are in.
    """
    choice = Choice(task)
    for name in registry.names("quantizer"):
        try:
            quantizer = registry.quantizer(name)
            runtime = registry.runtime_of(quantizer, task)
        except QuantbentoError as error:  # of another package, whose import can fail
            choice.leave_out(name, str(error))
            continue
        if kind not in quantizer.starts_from or runtime is None:
            choice.leave_out(name, OTHER_KIND)
        elif quantizer.data == "training":
            choice.leave_out(name, "trains on data of yours: add it with `training:`")
        elif layers not in quantizer.usual_for:
            choice.leave_out(name, f"not the usual choice for {layers} layers: add it to compare")
        elif later := quantizer.made_on_first_use():
            choice.leave_out(name, f"{later}; add it when that is wanted")
        else:
            options = _options(quantizer, checkpoint)
            scheme = quantizer().scheme_of(quantizer.Options(**options))
            variant = {"name": f"{runtime.name}-{scheme.partition('-')[0].lower()}", "quantizer": name}
            if told := _refusals(quantizer, quantizer.Options(**options), checkpoint, module):
                choice.leave_out(name, told[0])
                continue
            choice.variants.append(variant | ({"options": options} if options else {}))
    names = Counter(variant["name"] for variant in choice.variants)
    for variant in choice.variants:
        if task.contract == "tokens" or names[variant["name"]] > 1:  # language models have many with the same bits
            variant["name"] = variant["quantizer"]
    return choice


def _refusals(quantizer: Any, options: Any, checkpoint: CheckpointFacts | None, module: Any) -> list[str]:
    """Why a quantizer cannot do this model."""
    if checkpoint is not None:
        return quantizer().preflight(checkpoint, options) + quantizer().unservable(checkpoint, options)
    return [] if module is None else quantizer().preflight_module(module, options)


def _options(quantizer: Any, checkpoint: CheckpointFacts | None) -> dict[str, Any]:
    """Options other than the defaults, where the CPU or the model's layers need them."""
    fields, options = quantizer.Options.model_fields, {}
    if "reduce_range" in fields and machine.saturates():
        options["reduce_range"] = True
    if "group_size" in fields and checkpoint is not None:
        for size in GROUP_SIZES:
            if not quantizer().preflight(checkpoint, quantizer.Options(group_size=size)):
                return options | ({"group_size": size} if size != fields["group_size"].default else {})
    return options
