"""What continues prompts behind the endpoints: vLLM in a process of its own, or a model in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from quantbento import store
from quantbento.runtimes import artifact
from quantbento.serving.asgi import Receive, Scope, Send
from quantbento.serving.generation.settings import GenerationSettings
from quantbento.tasks.text_generation import TextGeneration


class Engine(ABC):
    """
    Args:
        stored: the model.
        names: what requests may call it; the first is what responses call it.
        settings: of the service.

    Attributes:
        adapters: the LoRA adapters beside it (`quantbento.runtimes.adapters`); `model` names one,
            or the model alone.
    """

    def __init__(self, stored: store.StoredModel, names: list[str], settings: GenerationSettings) -> None:
        self.stored, self.names, self.settings = stored, names, settings
        self.adapters: dict[str, Any] = artifact.describe(stored.path)["runtime_config"].get("adapters", {})

    @property
    def every_name(self) -> list[str]:
        """What requests may ask for: the model by its names, or an adapter."""
        return [*self.names, *self.adapters]

    @classmethod
    @abstractmethod
    def check_settings(cls, settings: GenerationSettings, description: dict[str, Any]) -> None:
        """Whether the model can run with these settings.

        Args:
            description: the model's `artifact.json`.

        Raises:
            QuantbentoError: one has no effect on this engine, or does not go with those the model was judged with.
        """

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether it can answer now; the members below are for when it can."""

    @property
    @abstractmethod
    def task(self) -> TextGeneration:
        """The model's, with its tokenizer."""

    @property
    @abstractmethod
    def max_model_len(self) -> int | None:
        """Tokens of a prompt and its continuation; None where there is no limit."""

    @abstractmethod
    async def run(self) -> None:
        """Starts the model, and keeps it running; raises where it cannot start."""

    @abstractmethod
    async def stop(self) -> None:
        """Ends the model after `run` was cancelled, wherever it was."""

    @abstractmethod
    async def complete(
        self, prompt: str, max_tokens: int, temperature: float, adapter: str | None = None
    ) -> tuple[str, int]:
        """What the loaded artifact says to the same prompt, chat template and all, and its number of tokens; with an
        adapter, or alone.

        Raises:
            InvalidInput: the prompt is blank, or longer than the model takes.
        """

    @abstractmethod
    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request to one of OpenAI's endpoints that is within its limits."""
