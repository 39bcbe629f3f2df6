"""FP8 weights and activations, rounded to nearest: no calibration, because scales of activations are taken at run time.
Done by llm-compressor in an isolated environment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointOptions
from quantbento.quantizers.llm.llm_compressor_base import LlmCompressorQuantizer


class Fp8Options(CheckpointOptions):
    scheme: Literal["FP8_DYNAMIC", "FP8_BLOCK"] = Field(
        "FP8_DYNAMIC", description="one scale per output channel and per token, or per 128 x 128 weights"
    )


class Fp8(LlmCompressorQuantizer):
    name = "fp8"
    scheme = "FP8_DYNAMIC"
    data = None
    Options = Fp8Options

    def scheme_of(self, options: Fp8Options) -> str:
        return options.scheme

    def job(self, options: Any) -> dict[str, Any]:
        return {"method": "rtn", "scheme": options.scheme, "group_size": None, "kv_cache": "auto", "dampening": None}
