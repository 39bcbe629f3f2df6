"""What is known of a variant's layers, in the shape of `sensitivity-<variant>.json`."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quantbento.judging.rows import make_output_folder

SCHEMA_VERSION = 1


@dataclass
class LayerCost:
    """One layer, or a group that is quantized alike.

    Attributes:
        name: the fnmatch pattern by which the quantizer's options name it.
        module: the name of the PyTorch module, where that is known; else its name without fnmatch's brackets.
        order: its place in the model, from 0.
        block, kind: the repeated block that it is part of, such as `encoder.layer.3`, and its name inside that block;
            `block` is empty where it is part of none.
        parameters: how many weights it has.
        sqnr_db: signal to quantization noise ratio of the model's outputs in dB when only this layer is quantized.
        metrics: the task's, when only this layer is quantized.
        drop: how much worse `Sensitivity.metric` is than in full precision.
        activation: `max_abs` of its input, and `outlier_ratio`: the largest magnitude of a channel / the median of the
            channels' largest magnitudes.
        error: why it could not be measured.
    """

    name: str
    module: str
    order: int
    block: str
    kind: str
    parameters: int
    sqnr_db: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    drop: float | None = None
    activation: dict[str, float] | None = None
    error: str | None = None

    @property
    def badness(self) -> tuple[float, float]:
        """Sorts layers from the least harmful to the most; those that were not measured come first."""
        drop = -math.inf if self.drop is None else self.drop
        return drop, -math.inf if self.sqnr_db is None else -self.sqnr_db


@dataclass
class Sensitivity:
    """All layers of a variant, the worst first.

    Attributes:
        metric: the metric of `drop`.
        runtime: what ran the models.
        measured: how a layer alone was quantized, in words.
        samples: how many items, or windows of tokens, were compared.
        baseline: full precision's metrics, in the same runtime.
        whole: the same as of a layer, with all layers quantized.
        attention: for each layer with attention, `layer` and `similarity`: the mean cosine of its attention maps in
            full precision and with all layers quantized.
        complete: whether every layer was measured.
    """

    recipe: str
    variant: str
    quantizer: str
    metric: str
    runtime: str
    measured: str
    samples: int
    baseline: dict[str, float] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)
    layers: list[LayerCost] = field(default_factory=list)
    attention: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = False

    def worst(self) -> list[LayerCost]:
        """The layers, the most harmful first; those that were not measured last."""
        return sorted(self.layers, key=lambda layer: layer.badness, reverse=True)

    def as_json(self) -> dict[str, Any]:
        content = asdict(self) | {"layers": [asdict(layer) for layer in self.worst()]}
        return {"schema_version": SCHEMA_VERSION} | content

    def write(self, output: Path) -> Path:
        """Writes `<output>/<recipe>/sensitivity-<variant>.json`; a reader never sees half of it.

        Raises:
            QuantbentoError: the folder cannot be written to.
        """
        path = output / self.recipe / f"sensitivity-{self.variant}.json"
        make_output_folder(path.parent)
        staged = path.with_suffix(".json.tmp")
        staged.write_text(json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        staged.replace(path)
        return path


def place(module: str) -> tuple[str, str]:
    """The repeated block that a layer is part of, and its name inside that block.

    >>> place("encoder.layer.3.attention.self.query"), place("classifier")
    (('encoder.layer.3', 'attention.self.query'), ('', 'classifier'))
    """
    parts = [part for part in re.split(r"[./]", module) if part]
    for index, part in enumerate(parts[:-1]):
        if part.isdecimal():
            return ".".join(parts[: index + 1]), ".".join(parts[index + 1 :])
    return "", ".".join(parts)
