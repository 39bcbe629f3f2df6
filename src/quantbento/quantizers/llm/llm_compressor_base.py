"""What the methods of llm-compressor share: a worker in an environment of its own, calibration, and the KV cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from quantbento.core import machine
from quantbento.quantizers.llm import counted
from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointQuantizer
from quantbento.quantizers.llm.workers import LLM_COMPRESSOR, LLM_COMPRESSOR_REQUIREMENTS
from quantbento.runtimes.vllm_settings import runs_on_cpu

# Of vLLM 0.32: `_get_attn_isa` in vllm/v1/attention/backends/cpu_attn.py, `triton_attn.py` beside it.
KV_CACHE_NEEDS = "a GPU of compute capability 8.9 or higher, or a CPU with AVX-512 or AMX"
KV_CACHE_FLAGS = {"avx512f", "amx_tile"}


class KvCacheOptions(BaseModel):
    kv_cache: Literal["auto", "fp8"] = Field(
        "auto", description="fp8: the KV cache too, with a calibrated scale per layer for keys and one for values"
    )


class LlmCompressorQuantizer(CheckpointQuantizer):
    """`name` is the worker's method."""

    data = "calibration"
    sees_all_experts = True
    modules = ("uv",)
    distributions = ()  # the worker's environment is pinned by `requirements`
    worker = LLM_COMPRESSOR
    requirements = LLM_COMPRESSOR_REQUIREMENTS

    def serving_needs(self, options: Any) -> str | None:
        needs = super().serving_needs(options)
        return f"{needs}; for its KV cache {KV_CACHE_NEEDS}" if _kv_cache_in_fp8(options) else needs

    def serving_problem(self, options: Any) -> str | None:
        if told := super().serving_problem(options):
            return told
        if _kv_cache_in_fp8(options) and runs_on_cpu() and not machine.cpu_flags() & KV_CACHE_FLAGS:
            return f"a KV cache in FP8 does not run here. It needs {KV_CACHE_NEEDS}"
        return None

    def also_counted(self, options: Any, folder: Path) -> list[str]:
        return [counted.kv_cache(folder)] if _kv_cache_in_fp8(options) else []


def _kv_cache_in_fp8(options: Any) -> bool:
    return getattr(options, "kv_cache", None) == "fp8"
