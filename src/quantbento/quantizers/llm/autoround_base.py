"""What the quantizers built on the AutoRound library share: 4-bit weights in a format that vLLM serves."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointQuantizer, GroupOptions, Int4
from quantbento.quantizers.llm.workers import AUTOROUND

FORMATS = {"compressed-tensors": "llm_compressor", "gptq": "auto_gptq", "awq": "auto_awq"}  # AutoRound's names


class Int4Options(GroupOptions):
    scheme: Int4 = Field("W4A16", description="W4A16 is symmetric; W4A16_ASYM has zero points")
    format: Literal["compressed-tensors", "gptq", "awq"] = "compressed-tensors"

    @model_validator(mode="after")
    def _servable(self) -> Int4Options:
        if self.format != "compressed-tensors" and self.scheme not in get_args(Int4):
            raise ValueError(f"format {self.format!r} has 4-bit integers; {self.scheme} needs compressed-tensors")
        if self.format == "gptq" and self.scheme != "W4A16":
            raise ValueError("format 'gptq' is served symmetric only; use scheme W4A16, or format 'awq'")
        if self.eight_bit and self.format != "compressed-tensors":
            raise ValueError(f"eight_bit goes with format 'compressed-tensors': {self.format!r} has one width for all")
        return self


class AutoRoundQuantizer(CheckpointQuantizer):
    """`name` is also the name of the worker's method."""

    scheme = "W4A16"
    modules = ("auto_round",)
    distributions = ("auto-round", "compressed-tensors", "transformers", "torch")
    worker = AUTOROUND
    raises = "eight_bit"
    Options = Int4Options

    def scheme_of(self, options: Int4Options) -> str:
        return options.scheme

    def job(self, options: Any) -> dict[str, Any]:
        return {
            "method": self.name,
            "scheme": options.scheme,
            "group_size": self.own_group_size(options),
            "format": FORMATS[options.format],
            "iterations": 0,
            "seed": 0,
        }
