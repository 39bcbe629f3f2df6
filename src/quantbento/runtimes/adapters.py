"""LoRA adapters that lie beside a model, in the folder `adapters/NAME` of its artifact.

`runtime_config["adapters"]` has their names with their ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FOLDER = "adapters"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for (vllm.config.lora.MaxLoRARanks)
TOGETHER = 8  # adapters whose requests run in one batch; each takes memory of the largest rank


def adapter_folders(artifact: Path, names: Iterable[str]) -> dict[str, Path]:
    """The adapters' folders in PEFT's format, by name."""
    return {name: artifact / FOLDER / name for name in names}


def lora_arguments(ranks: Mapping[str, int]) -> dict[str, Any]:
    """What vLLM's `EngineArgs` need for adapters of these ranks; nothing without adapters.

    vLLM has room for some ranks only: adapters are padded to the next of them.
    """
    if not ranks:
        return {}
    largest = next(room for room in RANKS if room >= max(ranks.values()))
    return {
        "enable_lora": True,
        "max_lora_rank": largest,
        "max_loras": min(len(ranks), TOGETHER),
        "max_cpu_loras": len(ranks),
    }
