"""Encoders, rerankers and classifiers on vLLM's pooling runner, made for GPUs.

The engine has a process of its own (`quantbento.runtimes.vllm_pooling_engine`), the same one for judging and for
serving. It gets token ids, as every runtime of the text tasks does, so texts are cut as they are elsewhere. It makes
batches of what several calls bring, and is therefore called from many threads at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quantbento.core.errors import QuantbentoError, summary
from quantbento.runtimes.base import ArrayRuntime, ReferenceJob
from quantbento.runtimes.vllm import VllmRuntime
from quantbento.runtimes.vllm_pooling_process import PoolingProcess
from quantbento.runtimes.vllm_settings import EngineSettings, head_problem, runs_on_cpu

ENCODERS = ("bert", "modernbert", "roberta", "xlm-roberta")
DECODERS = ("llama", "mistral", "qwen2", "qwen3")
POOLING_TASKS = {  # what vLLM calls what our tasks need
    "feature-extraction": "embed",
    "text-classification": "classify",
    "text-ranking": "classify",
    "token-classification": "token_classify",
}
POOLING = {"mean": "MEAN", "cls": "CLS", "last": "LAST"}  # vLLM's names of a task's `pooling`
GPU_SHARE = 0.3  # of a GPU's memory for one engine: a reference and a variant are compared side by side
LEAST_LENGTH = 16  # tokens; what engines take at least


class PoolingSettings(BaseModel):
    """Settings left out keep vLLM's defaults. The most tokens of a text are the task's, `max_length`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_num_seqs: int | None = Field(None, ge=1, le=4096, description="texts that run together")
    kv_cache_gib: float | None = Field(
        None, gt=0, le=4096, description="memory of a decoder's KV cache in GiB; encoders have none"
    )
    gpu_memory_utilization: float | None = Field(
        None,
        gt=0,
        le=1,
        description=f"share of a GPU's memory to fill; {GPU_SHARE} by default",
    )
    tensor_parallel_size: int = Field(1, ge=1, le=64, description="GPUs that share a model")

    @model_validator(mode="after")
    def _go_together(self) -> PoolingSettings:
        EngineSettings.model_validate(self.model_dump())
        return self

    def engine(self, dtype: str, max_length: int) -> EngineSettings:
        """The same as vLLM's other engines take them, with what the model says."""
        given = self.model_dump(exclude_none=True)
        if not runs_on_cpu() and not given.keys() & {"kv_cache_gib", "gpu_memory_utilization"}:
            given["gpu_memory_utilization"] = GPU_SHARE
        return EngineSettings.model_validate({"dtype": dtype, "max_model_len": max(max_length, LEAST_LENGTH), **given})


class VllmPoolingRuntime(ArrayRuntime):
    """`config` holds `task` (vLLM's name), `pooling` (vLLM's name, of embeddings), `dtype`, `max_length` and the
    recipe's `engine`. Embeddings come pooled, as the output `embedding`; normalisation and activations are the
    task's."""

    name = "vllm-pooling"
    modules = VllmRuntime.modules
    distributions = VllmRuntime.distributions
    extra = VllmRuntime.extra
    cpu_extra = VllmRuntime.cpu_extra
    devices = VllmRuntime.devices
    gpu_distribution = VllmRuntime.gpu_distribution
    start_seconds = VllmRuntime.start_seconds
    Settings = PoolingSettings
    calls_at_once = 16
    model_types = {
        "feature-extraction": (*ENCODERS, *DECODERS),
        "text-classification": (*ENCODERS, *DECODERS),
        "text-ranking": (*ENCODERS, *DECODERS),
        "token-classification": ENCODERS,
    }

    def __init__(self, folder: Path, config: dict[str, Any], threads: int) -> None:
        settings = PoolingSettings.model_validate(config.get("engine", {}))
        engine = settings.engine(config["dtype"], config["max_length"])
        self._task: str = config["task"]
        start = (str(folder), self._task, config["pooling"], engine.arguments())
        environment = {**engine.environment(), "OMP_NUM_THREADS": str(threads)}
        self._process = PoolingProcess(start, environment)

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        return cls(folder, config, threads)

    @classmethod
    def model_problem(cls, task: str, config: Mapping[str, Any], here: bool = True) -> str | None:
        return super().model_problem(task, config, here) or (head_problem(config) if here else None)

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        return VllmRuntime.device_problem(device)

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        return write_checkpoint(job, folder, dtype)

    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Of (texts, tokens) each: `embedding` (texts, width), or `logits` (texts, labels), of each token (texts,
        tokens, labels); float32. Padding does not go to vLLM, and its logits are 0."""
        lengths = batch["attention_mask"].sum(1).tolist()
        ids = _unpadded(batch["input_ids"], lengths)
        types = _unpadded(batch["token_type_ids"], lengths) if "token_type_ids" in batch else None
        rows: list[np.ndarray] = self._process.ask("pool", ids, types)
        if self._task == "embed":
            return {"embedding": np.stack(rows)}
        if self._task == "classify":
            return {"logits": np.stack(rows)}
        logits = np.zeros((len(rows), batch["input_ids"].shape[1], rows[0].shape[-1]), np.float32)
        for padded, row in zip(logits, rows, strict=True):
            padded[: len(row)] = row
        return {"logits": logits}

    def peak_memory_bytes(self) -> int | None:
        return self._process.ask("peak_memory_bytes")

    def close(self) -> None:
        """Ends the process."""
        self._process.close()


def write_checkpoint(job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any]:
    """Writes the source in hub format, its floats in `dtype` (as torch calls it). Returns the runtime's `config`.

    Raises:
        QuantbentoError: vLLM does not pool such models, or not for this task.
    """
    import torch

    module, task = job.source.module, job.task
    config: Any = getattr(module, "config", None)
    if module is None or getattr(config, "model_type", None) is None:
        raise QuantbentoError("vllm-pooling runs models in hub format; this one is none")
    if told := VllmPoolingRuntime.model_problem(task.name, config.to_dict(), here=False):
        raise QuantbentoError(told)
    copied: Any = copy.deepcopy(module).to(getattr(torch, dtype))
    copied.config.dtype = getattr(torch, dtype)
    try:
        copied.save_pretrained(folder)
    except (OSError, RuntimeError, ValueError) as error:
        raise QuantbentoError(f"the model cannot be written in hub format: {summary(error)}") from error
    pooling = POOLING[task.pooling] if task.name == "feature-extraction" else None
    return {
        "task": POOLING_TASKS[task.name],
        "pooling": pooling,
        "dtype": dtype,
        "max_length": task.text.max_length,
    }


def _unpadded(rows: np.ndarray, lengths: Sequence[int]) -> list[list[int]]:
    return [row[:length].tolist() for row, length in zip(rows, lengths, strict=True)]
