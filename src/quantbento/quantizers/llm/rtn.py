"""4-bit weights rounded to nearest, one scale a group: the floor that every other method must beat or equal."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointQuantizer, GroupOptions, Scheme
from quantbento.quantizers.llm.workers import AUTOROUND

FORMATS = {"compressed-tensors": "llm_compressor", "gptq": "auto_gptq", "awq": "auto_awq"}  # AutoRound's names


class RtnOptions(GroupOptions):
    scheme: Scheme = Field("W4A16", description="W4A16 is symmetric; W4A16_ASYM has zero points")
    format: Literal["compressed-tensors", "gptq", "awq"] = "compressed-tensors"

    @model_validator(mode="after")
    def _servable(self) -> RtnOptions:
        if self.format == "gptq" and self.scheme != "W4A16":
            raise ValueError("format 'gptq' is served symmetric only; use scheme W4A16, or format 'awq'")
        return self


class Rtn(CheckpointQuantizer):
    name = "rtn"
    scheme = "W4A16"
    requires = ("auto_round",)
    worker = AUTOROUND
    Options = RtnOptions

    def scheme_of(self, options: RtnOptions) -> str:
        return options.scheme

    def job(self, options: Any) -> dict[str, Any]:
        return {
            "method": self.name,
            "scheme": options.scheme,
            "group_size": options.group_size,
            "format": FORMATS[options.format],
            "iterations": 0,
            "seed": 0,
        }
