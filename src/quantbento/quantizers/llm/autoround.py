"""AutoRound: rounding and clipping tuned by sign gradients on the calibration data, block by block
(SignRound, https://arxiv.org/abs/2309.05516)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from quantbento.quantizers.llm.autoround_base import AutoRoundQuantizer, Int4Options


class AutoRoundOptions(Int4Options):
    scheme: Literal["W4A16", "W4A16_ASYM", "W8A16", "FP8_BLOCK", "NVFP4", "MXFP4"] = Field(  # type: ignore[assignment]
        "W4A16", description="docs/language-models.md says which scheme is for what"
    )
    iterations: int = Field(200, ge=1, le=10_000, description="tuning steps per block")
    seed: int = Field(42, ge=0)


class AutoRound(AutoRoundQuantizer):
    name = "autoround"
    data = "calibration"
    Options = AutoRoundOptions
    quickest = {"iterations": 1}

    def job(self, options: Any) -> dict[str, Any]:
        return super().job(options) | {"iterations": options.iterations, "seed": options.seed}
