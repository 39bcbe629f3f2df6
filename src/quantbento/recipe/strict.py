"""The base of everything a recipe holds: unknown keys are refused, and values never change."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
