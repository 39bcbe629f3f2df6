"""Checks of a quantized checkpoint that no runtime loads here, by its files and the source's alone:

1. the files can be read, and the index says what they hold
2. config.json's `quantization_config` is one that compressed-tensors reads
3. every tensor of the source is there, as it was or quantized, with its scales, of the right shape and type; all values
   are finite
4. the layers that the configuration calls quantized are, and no others
5. dequantized, each layer is near the source's weights (`reconstruction.py`)

One layer at a time is in memory. What is wrong is collected, and raised once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Advance
from quantbento.inputs.checkpoint import inspect
from quantbento.making.unjudged.layers import METHOD, QuantizedLayer, parsed, quantized_layers
from quantbento.making.unjudged.reconstruction import (
    LEAST_DB_KEPT,
    LayerError,
    Reconstruction,
    relative_error,
    relative_error_up_to_scales,
)
from quantbento.making.unjudged.tensors import CheckpointTensors

if TYPE_CHECKING:
    import torch

MOST_TOLD = 20  # problems in a message; one wrong step makes thousands
NOT_STORED = ("inv_freq",)  # of older checkpoints: loaders compute it


@dataclass
class Checked:
    """What was found; `report` is the row's `checked` in report.json."""

    files: int
    tensors: int
    layers: int | None = None
    reconstruction: Reconstruction = field(default_factory=Reconstruction)
    notes: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "tensors": self.tensors,
            "layers": self.layers,
            "reconstruction": self.reconstruction.report(),
            "notes": self.notes,
        }


def check(
    folder: Path, source: Path, advance: Advance, *, trust_remote_code: bool = False, up_to_scales: bool = False
) -> Checked:
    """Checks a quantized checkpoint.

    Args:
        folder: the checkpoint.
        source: the full-precision checkpoint that it was made from.
        up_to_scales: the quantizer moves scales between layers, so weights are compared up to a scale per row and
            column, and tensors that stay floats only by their shape.

    Raises:
        QuantbentoError: lists what is wrong with it.
    """
    made, original = CheckpointTensors(folder), CheckpointTensors(source)
    problems = list(made.problems)
    checked = Checked(len(set(made.files.values())), len(made.files))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization_config")
    layers: list[QuantizedLayer] = []
    if config is None:
        problems.append("config.json has no quantization_config, so loaders take it for full precision")
    elif original.problems:
        checked.notes.append("not compared with the source: it is not in safetensors")
    elif (method := config.get("quant_method")) != METHOD:
        checked.notes.append(f"layers were not compared with the source: their format is {method}, not {METHOD}")
    else:
        try:
            layers = quantized_layers(parsed(config), inspect(source, trust_remote_code).linears)
            checked.layers = len(layers)
            if not layers:
                problems.append("quantization_config names no layer of this model")
        except QuantbentoError as error:
            problems.append(str(error))
    problems += _not_finite(made, advance, len(made.files) + len(original.files))
    if layers:
        checked.reconstruction.up_to_scales = up_to_scales
        problems += _compare(made, original, layers, checked, advance)
    if problems:
        more = [f"... and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        told = "\n".join(f"  - {problem}" for problem in [*problems[:MOST_TOLD], *more])
        raise QuantbentoError(f"the checkpoint that was written is not right:\n{told}")
    return checked


def _compare(
    made: CheckpointTensors,
    original: CheckpointTensors,
    layers: list[QuantizedLayer],
    checked: Checked,
    advance: Advance,
) -> list[str]:
    """Every tensor of the source with what became of it. Returns what is wrong, and fills `checked`."""
    by_name = {f"{layer.name}.weight": layer for layer in layers}
    own = json.loads((made.folder / "config.json").read_text(encoding="utf-8"))
    up_to_scales, problems = checked.reconstruction.up_to_scales, list[str]()
    for number, name in enumerate(original.files):
        advance(len(made.files) + number, len(made.files) + len(original.files))
        if name.rpartition(".")[2] in NOT_STORED:
            continue
        before = original.get(name)
        if layer := by_name.get(name):
            if told := layer.problems(made, before.dtype):
                problems += told
                continue
            measure = relative_error_up_to_scales if up_to_scales else relative_error
            error = LayerError(layer.name, measure(before, layer.weight(made)), layer.bits)
            checked.reconstruction.layers.append(error)
        elif name not in made:
            if own.get("tie_word_embeddings") and name.endswith("lm_head.weight"):
                continue  # it is the embedding, which is stored once
            problems.append(f"{name} is missing")
        else:
            problems += _kept_problems(name, before, made.get(name), compare=not up_to_scales)
    if own.get("quantization_config", {}).get("kv_cache_scheme"):
        problems += _cache_problems(made, original)
    return problems + checked.reconstruction.problems


def _kept_problems(name: str, before: torch.Tensor, after: torch.Tensor, compare: bool) -> list[str]:
    """A tensor that stays a float."""
    if before.shape != after.shape or not after.is_floating_point() or after.element_size() < 2:
        kind = str(after.dtype).removeprefix("torch.")
        return [f"{name} is {kind} {tuple(after.shape)}; it is not quantized, and {tuple(before.shape)} in the source"]
    if compare and (apart := relative_error(before, after)) > 10 ** (-LEAST_DB_KEPT / 20):
        return [f"{name} is not quantized, and {apart:.2g} of the source's values away from them"]
    return []


def _cache_problems(made: CheckpointTensors, original: CheckpointTensors) -> list[str]:
    """The scales of a quantized key-value cache, two per attention."""
    attentions = [name.removesuffix(".k_proj.weight") for name in original.files if name.endswith(".k_proj.weight")]
    wanted = [f"{parent}.{scale}" for parent in attentions for scale in ("k_scale", "v_scale")]
    return [f"{name} is missing, though kv_cache_scheme asks for it" for name in wanted if name not in made]


def _not_finite(made: CheckpointTensors, advance: Advance, total: int) -> list[str]:
    problems = []
    for number, name in enumerate(made.files):
        advance(number, total)
        tensor = made.get(name)
        if not tensor.is_floating_point():
            continue
        if tensor.element_size() < 2:  # torch has no isfinite for 8-bit floats
            tensor = tensor.float()
        if not bool(tensor.isfinite().all()):
            problems.append(f"{name} holds NaN or infinity")
    return problems
