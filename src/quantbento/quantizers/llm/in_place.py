"""Layers of a written checkpoint that are still floats are rounded where they lie, in its own files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from quantbento.quantizers.llm.streaming.rounding import Rounding


def round_layers(folder: Path, names: Collection[str], rounding: Rounding) -> dict[str, int]:
    """Rewrites the safetensors files that hold some of these layers.

    Args:
        names: of linear layers.
        rounding: of a scheme, whose tensors stand in the place of a layer's `weight`.

    Returns:
        The number of weights of each layer that was found, by its name.
    """
    from safetensors.torch import load_file, save_file

    done: dict[str, int] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        here = [name for name in names if f"{name}.weight" in tensors]
        for name in here:
            weight = tensors.pop(f"{name}.weight")
            tensors |= {f"{name}.{part}": tensor for part, tensor in rounding(weight).items()}
            done[name] = weight.numel()
        if here:
            save_file(tensors, path, metadata={"format": "pt"})
    return done
