"""A checkpoint that a library wrote, with the names of the checkpoint it was made from.

AutoRound 0.16 and llm-compressor 0.14 name the layers of Mixtral's experts `gate_proj`, `up_proj` and `down_proj`. vLLM
reads them so; Transformers looks for `w1`, `w3` and `w2`, and fills the experts with random numbers. Both libraries
leave routers as they are, but AutoRound does not list them, and vLLM then expects them quantized.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from quantbento.inputs.checkpoint import INDEX, CheckpointFacts, tensors
from quantbento.inputs.layers import EXPERT, PROJECTIONS


def finish(folder: Path, facts: CheckpointFacts, kept: list[str]) -> None:
    """Renames tensors, and lists what is in 16 bit.

    Args:
        folder: what was written.
        facts: of the source.
        kept: the names of the linear layers and routers in 16 bit.
    """
    if facts.vision:
        for path in facts.folder.glob("*processor_config.json"):  # engines look for how images are prepared
            if not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)
    if not facts.modules and not facts.routers:
        return
    _rename(folder, _names(facts))
    path = folder / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    quantization = config["quantization_config"]
    if quantization.get("quant_method") == "compressed-tensors":
        # vLLM looks for the checkpoint's names, Transformers for its modules'.
        quantization["ignore"] = sorted({*kept, *(facts.modules.get(name, name) for name in kept)})
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _names(facts: CheckpointFacts) -> dict[str, str]:
    """The checkpoint's name of a layer by the other names that libraries write."""
    found = {module: layer for layer, module in facts.modules.items() if module not in facts.linears}
    for layer in facts.linears:
        match = EXPERT.fullmatch(layer)
        if match is not None and match["own"] in PROJECTIONS:
            found[f"{match['block']}.{match['number']}.{PROJECTIONS[match['own']]}"] = layer
    return found


def _rename(folder: Path, names: dict[str, str]) -> None:
    from safetensors.torch import load_file, save_file

    def renamed(tensor: str) -> str:
        layer, _, own = tensor.rpartition(".")
        return f"{names[layer]}.{own}" if layer in names else tensor

    if all(name == renamed(name) for name in tensors(folder)):
        return
    for path in sorted(folder.glob("*.safetensors")):
        held = {renamed(name): tensor for name, tensor in load_file(path).items()}
        save_file(held, path, metadata={"format": "pt"})
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        index["weight_map"] = {renamed(name): place for name, place in index["weight_map"].items()}
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
