"""Quantizes a causal language model with llm-compressor, and writes it as a compressed-tensors checkpoint.

Runs where llm-compressor is installed (`LLM_COMPRESSOR_REQUIREMENTS`) and imports nothing from quantbento. The job:

    model, output         folders in hub format; what is not quantized is written in bfloat16
    calibration           .npy file of int64 token ids, shape (sequences, tokens)
    method                "gptq": GPTQ with static activation order (https://arxiv.org/abs/2210.17323)
                          "smoothquant": SmoothQuant (https://arxiv.org/abs/2211.10438), then GPTQ
    scheme                as compressed-tensors names it: W4A16, W4A16_ASYM, W8A16, W8A8, NVFP4, MXFP4
    group_size            input channels that share a scale; -1 for one scale per row; null for the scheme's own
    kv_cache              "auto": as the model; "fp8": with one calibrated scale per layer for keys and for values
    ignore                exact names of the linear layers to leave as they are
    smoothing_strength    for "smoothquant", 0 to 1: how much of the activations' range the weights take over
    dampening             for GPTQ: added to the Hessian's diagonal, as a fraction of its mean

The result: `rounded`, a sentence about layers that were rounded to nearest because their Hessian could not be
inverted, or null; `unseen`, the experts of a mixture of experts that no calibration token was routed to. llm-compressor
calibrates every expert on all tokens (`moe_calibrate_all_experts`). The checkpoint shows what was quantized.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

# What every worker starts with; an isolated interpreter does not look there by itself.
sys.path.insert(0, str(Path(__file__).parents[3] / "core" / "isolated"))
sys.path.insert(0, str(Path(__file__).parent))

import routed
from worker import OnProgress, run

# What vLLM takes: `CompressedTensorsKVCacheMethod.validate_kv_cache_scheme`.
KV_CACHE = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}


def quantize(job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    import llmcompressor

    stages = ["smoothquant", "gptq"] if job["method"] == "smoothquant" else [job["method"]]
    _watch(stages, on_progress)
    rounded = _rounded()
    unseen = routed.watch()
    model = llmcompressor.oneshot(
        model=job["model"],
        precision="bfloat16",
        dataset=_calibration(job["calibration"]),
        recipe=_modifiers(job),
        output_dir=job["output"],
    )
    return {"rounded": next(iter(rounded), None), "unseen": unseen(model)}


def _modifiers(job: dict[str, Any]) -> list[Any]:
    from compressed_tensors.quantization import QuantizationStrategy, preset_name_to_scheme
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    scheme = preset_name_to_scheme(job["scheme"], ["Linear"])
    if group := job["group_size"]:
        shared = {"group_size": group} if group > 0 else {"strategy": QuantizationStrategy.CHANNEL, "group_size": None}
        scheme.weights = scheme.weights.model_copy(update=shared)
    given: dict[str, Any] = {"config_groups": {"group_0": scheme}, "ignore": job["ignore"]}
    if job["kv_cache"] == "fp8":
        given["kv_cache_scheme"] = KV_CACHE
    gptq = GPTQModifier(**given, actorder="static", dampening_frac=job["dampening"])
    if job["method"] == "gptq":
        return [gptq]
    return [SmoothQuantModifier(smoothing_strength=job["smoothing_strength"]), gptq]


def _calibration(file: str) -> Any:
    """One batch per sequence."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    rows = torch.from_numpy(np.load(file))
    batches: Any = [{"input_ids": row[None], "attention_mask": torch.ones_like(row[None])} for row in rows]
    return DataLoader(batches, batch_size=None)


def _watch(stages: list[str], on_progress: OnProgress) -> None:
    """Reads progress from the descriptions of llm-compressor's progress bars, the only place that has it. Each modifier
    starts again at one: "(1/33): Calibrating"."""
    from llmcompressor.pipelines.sequential import pipeline

    waiting = iter(stages)
    stage = ""

    def bar(batches: Any, total: int, desc: str) -> Any:
        nonlocal stage
        if found := re.fullmatch(r"\((\d+)/(\d+)\): Calibrating", desc):
            part, parts = map(int, found.groups())
            stage = next(waiting) if part == 1 else stage
            on_progress(stage, part - 1, parts)
        return batches

    pipeline.tqdm = bar


def _rounded() -> list[str]:
    """Collects the log message in which GPTQ says that it fell back to rounding; it leaves no other trace of that."""
    from loguru import logger

    found: list[str] = []
    logger.add(found.append, format="{message}", filter=lambda r: r["message"].startswith("Hessian inversion failed"))
    return found


if __name__ == "__main__":
    run(quantize)
