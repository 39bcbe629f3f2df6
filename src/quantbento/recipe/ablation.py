"""What is turned off, one at a time, to see what each part of a variant is worth."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from quantbento.recipe.strict import Strict

Aspect = Literal["calibration", "per_channel", "per_token", "smooth_quant", "kv_cache", "batching"]


class Ablate(Strict):
    """One variant, and what of it is turned off in turn."""

    variant: str = Field(description="name of a variant of this recipe")
    off: list[Aspect] = Field(min_length=1, description="turned off one by one")
