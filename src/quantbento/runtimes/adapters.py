"""LoRA adapters that lie beside a model, in the folder `adapters/NAME` of its artifact.

`runtime_config["adapters"]` says of each, by name, its `rank` and the `modules` that it adapts, as `q_proj`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Adapters = Mapping[str, dict[str, Any]]  # `runtime_config["adapters"]`
FOLDER = "adapters"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for (vllm.config.lora.MaxLoRARanks)
TOGETHER = 8  # adapters whose requests run in one batch; each takes memory of the largest rank


def adapter_folders(artifact: Path, names: Iterable[str]) -> dict[str, Path]:
    """The adapters' folders in PEFT's format, by name."""
    return {name: artifact / FOLDER / name for name in names}


def lora_arguments(adapters: Adapters) -> dict[str, Any]:
    """What vLLM's `EngineArgs` need for these adapters; nothing without adapters.

    vLLM has room for some ranks only: adapters are padded to the next of them. Modules that none adapts have none: vLLM
    cannot score several prompts together where `lm_head` has room for adapters (0.32).
    """
    if not adapters:
        return {}
    rank = max(adapter["rank"] for adapter in adapters.values())
    return {
        "enable_lora": True,
        "max_lora_rank": next(room for room in RANKS if room >= rank),
        "max_loras": min(len(adapters), TOGETHER),
        "max_cpu_loras": len(adapters),
        "lora_target_modules": sorted({module for adapter in adapters.values() for module in adapter["modules"]}),
    }
