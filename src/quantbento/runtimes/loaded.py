"""The protocol of a loaded artifact. Judging, serving and Python users see this, whatever the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class LoadedModel(Protocol):
    """A callable from a list of inputs to a list of answers, in order.

    Attributes:
        task: what the model is for (`quantbento.tasks.base.Task`).
        runtime: the engine that runs it.
        custom_objects: the Python objects saved with it, by name.
    """

    task: Any
    runtime: Any
    custom_objects: dict[str, Any]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """One answer per input.

        Raises:
            InvalidInput: an input the model cannot take; `index` says which.
        """

    def check(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs in canonical form; raises `InvalidInput` as a call does."""

    def answers(self, checked: Sequence[Any]) -> list[Any]:
        """The answers to inputs that went through `check`."""

    def rows(self, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
        """What the metrics compare: arrays by output name, one row per input (or per window of text)."""

    def rows_of(self, checked: Sequence[Any]) -> dict[str, np.ndarray]:
        """The same of inputs that went through `check`, one row per input."""

    def work(self, inputs: Sequence[Any]) -> int:
        """Does what a speed measurement times. Returns how much that was, in units of the task's throughput."""

    def sample(self, inputs: Sequence[Any]) -> dict[str, Any] | None:
        """An example answer for people to read beside the metrics; None where reading one tells nothing."""

    def close(self) -> None:
        """Ends its threads or its engine. The model cannot be used afterwards."""
