"""Checkpoints of encoders, rerankers and classifiers for vLLM's pooling runner, made for GPUs.

In 16 bit nothing is calibrated. In 8 bit, the linear layers inside the model's blocks are rounded to nearest, with one
scale per output channel, and their inputs are rounded at run time, with one scale per token; the format is
compressed-tensors'. Embeddings, poolers and heads stay in 16 bit: vLLM runs these as plain layers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantized, Quantizer, QuantizerOptions
from quantbento.quantizers.llm.in_place import round_layers
from quantbento.quantizers.llm.streaming.rounding import config_group, rounding
from quantbento.runtimes.vllm_pooling import write_checkpoint

if TYPE_CHECKING:
    import torch

Scheme = Literal["BF16", "FP16", "W8A8", "FP8_DYNAMIC"]
DTYPES = {"FP16": "float16"}  # of what is not quantized; bfloat16 for the others
INSIDE_A_BLOCK = re.compile(r"(^|\.)layers?\.\d+\.")
EIGHT_BIT = ("W8A8", "FP8_DYNAMIC")


class PoolingOptions(QuantizerOptions):
    scheme: Scheme = Field("BF16", description="of the weights; the 8-bit ones round activations too")


class PoolingCheckpoint(Quantizer):
    name = "vllm-pooling"
    scheme = "BF16"
    runtimes = ("vllm-pooling",)
    starts_from = ("module",)
    modules = ("torch", "transformers", "safetensors")
    distributions = ("torch", "transformers", "safetensors")
    extra = "quantize"
    devices = ("cpu", "cuda")
    usual_for = ()
    Options = PoolingOptions

    def scheme_of(self, options: PoolingOptions) -> str:
        return options.scheme

    def quantize(self, job: Job, options: PoolingOptions, folder: Path) -> Quantized:
        scheme = options.scheme
        config = write_checkpoint(job, folder, DTYPES.get(scheme, "bfloat16"))
        assert job.source.module is not None
        parameters = sum(p.numel() for p in job.source.module.parameters())
        if scheme not in EIGHT_BIT:
            tensors = len(list(job.source.module.parameters()))
            return Quantized(config, {f"{scheme} tensors": tensors}, parameters, parameters)
        done = _round(job.source.module, folder, scheme)
        return Quantized(
            config, {f"{scheme} layers": len(done)}, quantized_parameters=sum(done.values()), parameters=parameters
        )


def _round(module: torch.nn.Module, folder: Path, scheme: str) -> dict[str, int]:
    """Rewrites the checkpoint in `folder`. The weights of each quantized layer, by its name.

    Raises:
        QuantbentoError: the model has no linear layers in blocks.
    """
    import torch

    linears = [name for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)]
    chosen = [name for name in linears if INSIDE_A_BLOCK.search(name)]
    rounded = rounding(scheme, -1)
    if scheme == "FP8_DYNAMIC":  # its scales are in float32, whatever the dtype of the weights
        done = round_layers(folder, chosen, lambda weight: rounded(weight.float()))
    else:
        done = round_layers(folder, chosen, rounded)
    if not done or len(done) < len(chosen):
        raise QuantbentoError(f"{len(done)} of {len(chosen)} linear layers in blocks are in the checkpoint")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    group = config_group(scheme, -1)
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "format": group["format"],
        "config_groups": {"group_0": {"targets": ["Linear"], **group}},
        "ignore": [name for name in linears if name not in done],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return done
