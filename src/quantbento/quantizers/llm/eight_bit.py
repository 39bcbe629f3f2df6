"""Puts linear layers of a written checkpoint into 8 bit, beside those in 4 bit: compressed-tensors' `mixed-precision`.

Weights are rounded to nearest, one scale per output channel, and activations are rounded to INT8 at run time, one scale
per token (`W8A8`). Weights alone in 8 bit (`W8A16`) would be served on GPUs only: of packed weights, vLLM's kernel for
CPUs takes those in 4 bit alone (`CPUWNA16LinearKernel`, vLLM 0.32). Its INT8 kernels are for both.
"""

from __future__ import annotations

import json
from pathlib import Path

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import INDEX
from quantbento.quantizers.llm.in_place import round_layers
from quantbento.quantizers.llm.streaming.rounding import config_group, rounding

SCHEME = "W8A8"
NAME = f"{SCHEME} layers"  # what reports count them as


def add(folder: Path, names: list[str]) -> None:
    """Rewrites the checkpoint in `folder`, in which these layers still are in 16 bit.

    Raises:
        QuantbentoError: the checkpoint is of another format, or a layer is quantized already.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quantization = config["quantization_config"]
    if quantization.get("quant_method") != "compressed-tensors":
        raise QuantbentoError("layers in 8 bit beside others in 4 bit need format: compressed-tensors")
    missing = set(names) - round_layers(folder, names, rounding(SCHEME, -1)).keys()
    if missing:
        raise QuantbentoError(f"these layers are not in 16 bit in the checkpoint: {', '.join(sorted(missing))}")
    _index(folder, names)
    quantization["ignore"] = [name for name in quantization["ignore"] if name not in names]
    # A target that names a layer wins over one that names a class of layers ("Linear").
    quantization["config_groups"] = {
        "eight_bit": {"targets": names, **config_group(SCHEME, -1)},
        **quantization["config_groups"],
    }
    quantization["format"] = "mixed-precision"
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _index(folder: Path, names: list[str]) -> None:
    """Adds the scales to the index of a checkpoint of several files."""
    path = folder / INDEX
    if not path.is_file():
        return
    index = json.loads(path.read_text(encoding="utf-8"))
    places = index["weight_map"]
    for name in names:
        places[f"{name}.weight_scale"] = places[f"{name}.weight"]
    path.write_text(json.dumps(index, indent=2), encoding="utf-8")
