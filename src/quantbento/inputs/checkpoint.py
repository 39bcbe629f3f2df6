"""A language model's checkpoint: what is known before its weights are read, and what a quantized one holds."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.inputs import layers
from quantbento.runtimes.transformers import auto_class_of

BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}  # else 1
INDEX = "model.safetensors.index.json"  # of a checkpoint of several files
FLOATS = ("F64", "F32", "BF16", "F16")
# vLLM runs each of these groups as one layer, so their members share a scheme.
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@dataclass(frozen=True)
class CheckpointFacts:
    """What is known of a language model's checkpoint.

    Attributes:
        linears: (outputs, inputs) of each linear layer, by its name in the checkpoint; experts one by one.
        modules, routers, vision, head: as in `quantbento.inputs.layers.Layers`.
    """

    folder: Path
    linears: dict[str, tuple[int, int]]
    parameters: int
    modules: dict[str, str] = field(default_factory=dict)
    routers: list[str] = field(default_factory=list)
    vision: list[str] = field(default_factory=list)
    head: str | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the weights in 16 bit."""
        return 2 * self.parameters


def inspect(folder: Path, trust_remote_code: bool = False) -> CheckpointFacts:
    """The facts of a causal or vision-language model in hub format, from its configuration alone: no weight is read.

    Raises:
        QuantbentoError: the configuration is missing or is not a causal language model's.
    """
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            kind = getattr(transformers, auto_class_of(folder))
            model = kind.from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise QuantbentoError(f"{folder} is no causal language model in hub format: {summary(error)}") from error
    found = layers.of(model)
    parameters = sum(p.numel() for p in model.parameters())
    return CheckpointFacts(folder, found.linears, parameters, found.modules, found.routers, found.vision, found.head)


def tensors(folder: Path) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of every tensor in a folder's safetensors files, by name, from their headers."""
    found: dict[str, tuple[str, list[int]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {name: (t["dtype"], t["shape"]) for name, t in header(path).items()}
    return found


def header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors, by name: `dtype`, `shape` and `data_offsets`.

    Raises:
        QuantbentoError: it is no safetensors file, or cut short.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            found: dict[str, Any] = json.loads(file.read(length))
        found.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in found.values()), default=0)
    except (struct.error, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise QuantbentoError(f"{path} is no safetensors file, or damaged; fetch the model again") from error
    if (size := path.stat().st_size) != end:
        raise QuantbentoError(f"{path} has {size} bytes instead of {end}; fetch the model again")
    return found


def quantized_bytes(folder: Path, names: list[str]) -> dict[str, int]:
    """Which of the layers a checkpoint no longer holds as a matrix of floats, with the bytes their weights take:
    packed values, scales, zero points and the quantizer's tables, but not biases."""
    parts: dict[str, list[tuple[str, str, list[int]]]] = {}
    wanted = set(names)
    for name, (kind, shape) in tensors(folder).items():
        for layer in wanted.intersection(name[: dot.start()] for dot in re.finditer(r"\.", name)):
            parts.setdefault(layer, []).append((name.removeprefix(f"{layer}."), kind, shape))
    return {
        layer: sum(BYTES.get(kind, 1) * prod(shape) for name, kind, shape in found if name != "bias")
        for layer, found in parts.items()
        if not any(name == "weight" and kind in FLOATS for name, kind, _ in found)
    }
