"""Puts linear layers of a written checkpoint into 8 bit, beside those in 4 bit: compressed-tensors' `mixed-precision`.

Weights are rounded to nearest, one scale per output channel, and activations are rounded to INT8 at run time, one scale
per token (`W8A8`). Weights alone in 8 bit (`W8A16`) would be served on GPUs only: of packed weights, vLLM's kernel for
CPUs takes those in 4 bit alone (`CPUWNA16LinearKernel`, vLLM 0.32). Its INT8 kernels are for both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError

if TYPE_CHECKING:
    import torch

SCHEME = "W8A8"
NAME = f"{SCHEME} layers"  # what reports count them as
LARGEST = 127  # of symmetric INT8; -128 is not used
GROUP: dict[str, Any] = {
    "format": "int-quantized",
    "input_activations": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True},
    "output_activations": None,
    "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
}


def add(folder: Path, names: list[str]) -> None:
    """Rewrites the checkpoint in `folder`, in which these layers still are in 16 bit.

    Raises:
        QuantbentoError: the checkpoint is of another format, or a layer is quantized already.
    """
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quantization = config["quantization_config"]
    if quantization.get("quant_method") != "compressed-tensors":
        raise QuantbentoError("layers in 8 bit beside others in 4 bit need format: compressed-tensors")
    missing = set(names)
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        here = [name for name in names if f"{name}.weight" in tensors]
        for name in here:
            weight, scale = rounded(tensors[f"{name}.weight"])
            tensors |= {f"{name}.weight": weight, f"{name}.weight_scale": scale}
        if here:
            save_file(tensors, path, metadata={"format": "pt"})
        missing -= set(here)
    if missing:
        raise QuantbentoError(f"these layers are not in 16 bit in the checkpoint: {', '.join(sorted(missing))}")
    _index(folder, names)
    quantization["ignore"] = [name for name in quantization["ignore"] if name not in names]
    # A target that names a layer wins over one that names a class of layers ("Linear").
    quantization["config_groups"] = {"eight_bit": {"targets": names, **GROUP}, **quantization["config_groups"]}
    quantization["format"] = "mixed-precision"
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An int8 matrix of the same shape (outputs, inputs), and its scales (outputs, 1) in the weight's dtype."""
    import torch

    exact = weight.float()
    # The scale is rounded to the weight's dtype first, so that what is written is what was rounded to.
    scale = (exact.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST).to(weight.dtype)
    whole = (exact / scale.float()).round().clamp(-LARGEST, LARGEST)
    return whole.to(torch.int8), scale


def _index(folder: Path, names: list[str]) -> None:
    """Adds the scales to the index of a checkpoint of several files."""
    path = folder / "model.safetensors.index.json"
    if not path.is_file():
        return
    index = json.loads(path.read_text(encoding="utf-8"))
    places = index["weight_map"]
    for name in names:
        places[f"{name}.weight_scale"] = places[f"{name}.weight"]
    path.write_text(json.dumps(index, indent=2), encoding="utf-8")
