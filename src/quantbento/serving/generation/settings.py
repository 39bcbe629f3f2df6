"""Settings of the service that generates text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from quantbento.serving.generation.nodes import NodeSettings
from quantbento.serving.generation.screen import Screen
from quantbento.serving.settings import Settings


class GenerationSettings(Settings, NodeSettings):
    """Of TextGeneration: limits of a request for text, settings of vLLM's engine, and of a model in the service's
    process. One that has no effect on the engine of the stored model is refused when the service starts."""

    timeout_seconds: float = Field(
        600, gt=0, le=3600, description="to the whole text, streaming to its first token; longer is answered with 504"
    )
    memory: str = Field("8Gi", description="memory resource hint")
    max_tokens: int = Field(
        4096, ge=1, le=1_000_000, description="that a request may ask for, and get where it does not say"
    )
    max_prompts: int = Field(16, ge=1, le=1024, description="prompts in a request")
    max_choices: int = Field(8, ge=1, le=128, description="`n`, continuations of one prompt")
    max_characters: int = Field(200_000, ge=1, le=1_000_000, description="of one prompt, or of all messages together")
    max_prompt_logprobs: int = Field(
        5, ge=0, le=20, description="`logprobs` with `echo`: most probable tokens listed for each token of a prompt"
    )

    tool_parser: str | None = Field(
        None, pattern=r"^[a-zA-Z0-9_.-]+$", description="vLLM's parser of this model's tool calls; allows `tools`"
    )
    screen_file: Path | None = Field(None, description="prompts are refused by the rules of this YAML file")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a model in this process, not of vLLM; all cores when left out"
    )

    @model_validator(mode="after")
    def _a_gpu_for_each_part(self) -> GenerationSettings:
        if self.gpu and self.tensor_parallel_size > self.gpu:
            raise ValueError(f"tensor_parallel_size={self.tensor_parallel_size} needs as many GPUs, not gpu={self.gpu}")
        return self

    def check_files(self) -> None:
        super().check_files()
        if self.screen_file is not None:
            Screen.read(self.screen_file)

    def engine_settings_given(self) -> dict[str, Any]:
        """Those of vLLM's engine that `--arg` or the environment gives."""
        return {name: getattr(self, name) for name in NodeSettings.model_fields if name in self.model_fields_set}

    def engine(self, judged: dict[str, Any]) -> NodeSettings:
        """The engine's settings: those the model was judged with, except where others were given.

        Raises:
            ValueError: two that do not go together.
        """
        return NodeSettings.model_validate(judged | self.engine_settings_given())
