"""Mixed precision: what must hold, so that as few layers as possible get more bits than the quantizer gives them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from quantbento.recipe.gates import Gates
from quantbento.recipe.strict import Strict

RULES = ("min", "max", "max_drop", "min_recovery")


class Mixed(Strict):
    """Either limits on metrics, as gates have them, which the fewest layers are raised for; or `avg_bits`, which the
    most harmful layers are raised within."""

    min: dict[str, float] = {}
    max: dict[str, float] = {}
    max_drop: dict[str, Annotated[float, Field(ge=0)]] = {}
    min_recovery: dict[str, Annotated[float, Field(gt=0)]] = {}
    avg_bits: float | None = Field(
        None, gt=0, le=32, description="most bits per weight of the layers, with scales and zero points"
    )
    max_steps: int = Field(12, ge=2, le=100, description="how often it may quantize and evaluate")

    @model_validator(mode="after")
    def _one_kind_of_goal(self) -> Self:
        limits = any(getattr(self, rule) for rule in RULES)
        if limits and self.avg_bits is not None:
            raise ValueError(f"avg_bits is a goal of its own: leave out {' and '.join(self.rules)}")
        if not limits and self.avg_bits is None:
            raise ValueError(f"a goal is missing: {', '.join(RULES)} with a metric, or avg_bits")
        return self

    @property
    def rules(self) -> list[str]:
        """The rules that name a metric."""
        return [rule for rule in RULES if getattr(self, rule)]

    @property
    def gates(self) -> Gates:
        """The limits on metrics as gates."""
        return Gates(**{rule: getattr(self, rule) for rule in RULES})
