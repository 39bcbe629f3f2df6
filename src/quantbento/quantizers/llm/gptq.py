"""GPTQ: weights are rounded one input channel after the other, and the error of each is spread over those that follow
(https://arxiv.org/abs/2210.17323), in static activation order. Done by llm-compressor in an isolated environment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from quantbento.quantizers.llm.checkpoint_quantizer import GroupOptions
from quantbento.quantizers.llm.llm_compressor_base import KvCacheOptions, LlmCompressorQuantizer


class GptqOptions(KvCacheOptions, GroupOptions):
    scheme: Literal["W4A16", "W4A16_ASYM", "W8A16", "W8A8", "NVFP4", "MXFP4"] = Field(
        "W4A16", description="docs/language-models.md says which scheme is for what"
    )
    dampening: float = Field(0.01, gt=0, le=1, description="share of its mean added to the Hessian's diagonal")


class Gptq(LlmCompressorQuantizer):
    name = "gptq"
    scheme = "W4A16"
    raises = "eight_bit"
    Options = GptqOptions

    def scheme_of(self, options: GptqOptions) -> str:
        return options.scheme

    def job(self, options: Any) -> dict[str, Any]:
        return {
            "method": self.name,
            "scheme": options.scheme,
            "group_size": self.own_group_size(options),
            "kv_cache": options.kv_cache,
            "dampening": options.dampening,
            "smoothing_strength": None,
        }
