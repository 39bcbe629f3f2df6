"""AWQ: weight channels that meet large activations are scaled up before rounding, and the layer before is scaled down
to match (https://arxiv.org/abs/2306.00978). Scales are searched on the calibration data."""

from __future__ import annotations

from quantbento.quantizers.llm.autoround_base import AutoRoundQuantizer


class Awq(AutoRoundQuantizer):
    name = "awq"
    data = "calibration"
    rescales = True
    sees_all_experts = True
