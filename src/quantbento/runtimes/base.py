"""The contract of a runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np


class Runtime(ABC):
    """A loaded model and the engine that runs it."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, concurrent: bool) -> Self:
        """The model in an artifact folder, ready to run on `threads` CPU cores."""

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of the engine's own process; None where it shares this one."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """Frees the model, and ends its process if it has one; may be called again."""


class ArrayRuntime(Runtime):
    """Takes and gives arrays. `concurrent` says that several chunks may run at once, each on one thread: `run` is
    then called from several threads, and a chunk is not spread over cores."""

    concurrent: bool = False

    @abstractmethod
    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for one batch of inputs by name, batch first."""
