"""SmoothQuant, then GPTQ: INT8 weights and INT8 activations. Activation outliers are moved into the weights first
(https://arxiv.org/abs/2211.10438). Done by llm-compressor in an isolated environment."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointOptions
from quantbento.quantizers.llm.llm_compressor_base import LlmCompressorQuantizer


class SmoothQuantOptions(CheckpointOptions):
    smoothing_strength: float = Field(0.8, ge=0, le=1, description="how much of the range moves to the weights")
    dampening: float = Field(0.01, gt=0, le=1, description="GPTQ: share of its mean added to the Hessian's diagonal")


class SmoothQuant(LlmCompressorQuantizer):
    name = "smoothquant"
    scheme = "W8A8"
    rescales = True
    Options = SmoothQuantOptions

    def job(self, options: Any) -> dict[str, Any]:
        return {
            "method": self.name,
            "scheme": self.scheme,
            "group_size": None,
            "dampening": options.dampening,
            "smoothing_strength": options.smoothing_strength,
        }
