"""Turns finished shards into a checkpoint in hub format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from quantbento.core.files import link_or_copy
from quantbento.inputs.checkpoint import INDEX, header
from quantbento.inputs.folders import SMALL_FILES
from quantbento.quantizers.llm.streaming.rounding import config_group


def assemble(source: Path, state: Path, shards: list[str], places: dict[str, str], folder: Path) -> None:
    """Puts the shards, their index and the source's small files (tokenizer, configuration, code) into a folder."""
    for path in sorted({p for pattern in SMALL_FILES for p in source.glob(pattern)}):
        if not path.name.endswith(".safetensors.index.json"):
            shutil.copyfile(path, folder / path.name)
    for name in shards:
        link_or_copy(state / name, folder / name)
    if len(shards) > 1:
        headers = (header(folder / name) for name in shards)
        total = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for h in headers for entry in h.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def configure(folder: Path, dtype: str, quantization: dict[str, Any]) -> None:
    """Says in the checkpoint's configuration how it is quantized."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config |= {"dtype": dtype, "quantization_config": quantization}
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def quantization_config(schemes: dict[str, str], group_size: int, kept: list[str]) -> dict[str, Any]:
    """compressed-tensors' configuration. The scheme of most layers is that of all linear layers; layers in another one
    are named.

    Args:
        schemes: by the name of the layer.
        kept: linear layers in full precision.
    """
    layers: dict[str, list[str]] = {}
    for name, scheme in schemes.items():
        layers.setdefault(scheme, []).append(name)
    usual = max(layers, key=lambda scheme: len(layers[scheme]))
    # A target that names a layer wins over one that names a class of layers ("Linear").
    others = {
        scheme.lower(): {"targets": names, **config_group(scheme, group_size)}
        for scheme, names in layers.items()
        if scheme != usual
    }
    group = config_group(usual, group_size)
    return {
        "config_groups": {**others, "group_0": {"targets": ["Linear"], **group}},
        "format": "mixed-precision" if others else group["format"],
        "global_compression_ratio": None,
        "ignore": kept,
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    }
