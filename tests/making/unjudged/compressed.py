"""Quantized checkpoints made with compressed-tensors alone, rounded to nearest: fast, and of every scheme it has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def write(source: Path, folder: Path, scheme: str = "W4A16", ignore: tuple[str, ...] = ("lm_head",)) -> Path:
    """Quantizes every linear layer of a checkpoint in one safetensors file that `ignore` does not name."""
    import torch
    from compressed_tensors.compressors.base import BaseCompressor, infer_module_format
    from compressed_tensors.quantization import (
        QuantizationConfig,
        initialize_module_for_quantization,
        preset_name_to_scheme,
    )
    from compressed_tensors.quantization.utils import calculate_qparams
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, folder)
    chosen = preset_name_to_scheme(scheme, ["Linear"])
    form = infer_module_format(torch.nn.Linear, chosen)
    compressor = BaseCompressor.get_value_from_registry(form.value)
    tensors = {}
    for name, weight in load_file(source / "model.safetensors").items():
        layer = name.removesuffix(".weight")
        if weight.ndim != 2 or "embed" in name or layer in ignore:
            tensors[name] = weight
            continue
        module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
        module.weight.data = weight
        initialize_module_for_quantization(module, chosen)
        groups = weight.reshape(len(weight), -1, chosen.weights.group_size or weight.shape[1])
        scale, zero_point = calculate_qparams(groups.amin(-1), groups.amax(-1), chosen.weights)
        module.weight_scale.data = scale.to(module.weight_scale.dtype)
        if hasattr(module, "weight_zero_point"):
            module.weight_zero_point.data = zero_point
        packed = compressor.compress({k: v.data for k, v in module.state_dict().items()}, chosen)
        tensors |= {f"{layer}.{part}": tensor.contiguous() for part, tensor in packed.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    told = QuantizationConfig(config_groups={"group_0": chosen}, ignore=list(ignore), format=form.value)
    config["quantization_config"] = json.loads(told.model_dump_json())
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def change(folder: Path, **changes) -> None:
    """Rewrites tensors of the checkpoint: each by a function of the old one, or None to remove it. A dot in a name is
    written as `__`."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, function in changes.items():
        name = name.replace("__", ".")
        if function is None:
            del tensors[name]
        else:
            tensors[name] = function(tensors[name]).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
