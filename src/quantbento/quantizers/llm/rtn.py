"""4-bit weights rounded to nearest, one scale per group: the floor that every other method must reach or beat."""

from __future__ import annotations

from quantbento.quantizers.llm.autoround_base import AutoRoundQuantizer


class Rtn(AutoRoundQuantizer):
    name = "rtn"
