"""The contract of a runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np


class Runtime(ABC):
    """A loaded model. `concurrent` says that several chunks may run at once, each on one thread: `run` is then
    called from several threads, and a chunk is not spread over cores."""

    name: ClassVar[str]
    extra: ClassVar[str]  # the extra of this package that installs it
    concurrent: bool = False

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, concurrent: bool) -> Self:
        """The model in an artifact folder, ready to run on `threads` CPU cores."""

    @abstractmethod
    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for one batch of inputs by name, batch first."""
