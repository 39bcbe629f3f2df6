"""What the methods of llm-compressor share: a worker in an environment of its own, calibration, and the KV cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from quantbento.quantizers.llm import counted
from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointQuantizer
from quantbento.quantizers.llm.workers import LLM_COMPRESSOR, LLM_COMPRESSOR_REQUIREMENTS


class KvCacheOptions(BaseModel):
    kv_cache: Literal["auto", "fp8"] = Field(
        "auto", description="fp8: the KV cache too, with a calibrated scale per layer for keys and one for values"
    )


class LlmCompressorQuantizer(CheckpointQuantizer):
    """`name` is the worker's method."""

    data = "calibration"
    modules = ("uv",)
    distributions = ()  # the worker's environment is pinned by `requirements`
    worker = LLM_COMPRESSOR
    requirements = LLM_COMPRESSOR_REQUIREMENTS

    def also_counted(self, options: Any, folder: Path) -> list[str]:
        return [counted.kv_cache(folder)] if getattr(options, "kv_cache", None) == "fp8" else []
