"""Speculative decoding as vLLM names it: several tokens are guessed, and the model checks them in one pass.

Guesses come from the text itself (`ngram`) or from a small model: `draft_model`, any causal language model with the
same vocabulary; `eagle` and `eagle3`, heads that were trained for the model (Li et al. 2024, arXiv:2401.15077).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

DRAFT = "draft"  # the draft model's folder in an artifact


class Speculation(BaseModel):
    """Names are those of vLLM's `SpeculativeConfig`; settings left out keep vLLM's defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    method: Literal["ngram", "draft_model", "eagle", "eagle3"] = Field(description="where guesses come from")
    num_speculative_tokens: int = Field(ge=1, le=32, description="tokens guessed at a time")
    model: str | None = Field(None, description="the folder of the draft model, in hub format")
    prompt_lookup_max: int | None = Field(None, ge=1, le=64, description="tokens of the longest n-gram looked up")
    prompt_lookup_min: int | None = Field(None, ge=1, le=64, description="tokens of the shortest n-gram looked up")

    @model_validator(mode="after")
    def _goes_together(self) -> Speculation:
        lookup = self.prompt_lookup_max or self.prompt_lookup_min
        if self.method == "ngram" and self.model:
            raise ValueError("model does not go with ngram, which guesses from the text itself")
        if self.method != "ngram" and not self.model:
            raise ValueError(f"{self.method} needs model, the draft model's folder")
        if self.method != "ngram" and lookup:
            raise ValueError(f"prompt_lookup_max and prompt_lookup_min are for ngram, not {self.method}")
        if (self.prompt_lookup_min or 1) > (self.prompt_lookup_max or 64):
            raise ValueError("prompt_lookup_min must be at most prompt_lookup_max")
        return self

    def arguments(self, artifact: Path | None = None) -> dict[str, Any]:
        """vLLM's `speculative_config`; the draft model's folder is one of the artifact's."""
        given = self.model_dump(exclude_none=True)
        if self.model and artifact is not None:
            given["model"] = str(artifact / self.model)
        return given


def _read(value: Any) -> Any:
    """Services are given it as JSON, as vLLM's own command line takes it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        told = '{"method": "ngram", "num_speculative_tokens": 4}'
        raise ValueError(f"must be JSON such as {told}, not {value!r:.80}") from None


Speculative = Annotated[Speculation | None, BeforeValidator(_read)]
