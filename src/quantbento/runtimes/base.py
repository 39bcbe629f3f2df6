"""The contracts of a runtime.

A runtime's contract says what its loaded models can be asked: `arrays`, arrays in and arrays out, or `tokens`, scores
and continuations of token ids. A task names the contract its models need, never a runtime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel

if TYPE_CHECKING:
    from quantbento.inputs.job import Job

Contract = Literal["arrays", "tokens"]
SourceKind = Literal["module", "onnx", "checkpoint"]


class Runtime(ABC):
    """A loaded model and the engine that runs it.

    The class attributes are read without importing the engine, so a runtime's module imports it inside functions.

    Attributes:
        name: what the registry, manifests and reports call it.
        contract: what its loaded models can be asked.
        modules: what it imports, as imported; looked for before any work.
        distributions: packages whose versions decide how it computes, of which alternatives may be missing. They are
            part of a variant's fingerprint and of the report's environment.
        extra: of this project, that installs them; None where another package brings the runtime.
        devices: it can run on, as PyTorch calls them.
        runs: kinds of full-precision models that it runs as they are; the first runtime that does so for a model
            gives its baseline.
        reference_dtypes: in which full precision is written for it, beside the model's own.
        start_seconds: a container with it may take to become ready.
        Settings: what `task_options.engine` may say to it; None where it has no settings.
    """

    declares: ClassVar[tuple[str, ...]] = ("name", "contract", "modules", "distributions")

    name: ClassVar[str]
    contract: ClassVar[Contract]
    modules: ClassVar[tuple[str, ...]]
    distributions: ClassVar[tuple[str, ...]]
    extra: ClassVar[str | None] = None
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    runs: ClassVar[tuple[SourceKind, ...]] = ()
    reference_dtypes: ClassVar[tuple[str, ...]] = ()
    start_seconds: ClassVar[int] = 120
    Settings: ClassVar[type[BaseModel] | None] = None

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, concurrent: bool) -> Self:
        """The model in an artifact folder, ready to run on `threads` CPU cores."""

    @classmethod
    def write_reference(cls, job: Job, folder: Path, dtype: str) -> dict[str, Any] | None:
        """Writes the full-precision model for this runtime, and gives its `config`. None where full precision does
        not exist in it; the report then says so.

        Args:
            job: with the source model; nothing of it is changed.
            folder: of the artifact, empty.
            dtype: "float32", "bfloat16" or "float16": the source's own, or one of `reference_dtypes`.

        Raises:
            QuantbentoError: it exists, but not for this model.
        """
        return None

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of the engine's own process; None where it shares this one."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """Frees the model, and ends its process if it has one; may be called again."""


class ArrayRuntime(Runtime):
    """Takes and gives arrays. `concurrent` says that several chunks may run at once, each on one thread: `run` is
    then called from several threads, and a chunk is not spread over cores."""

    contract = "arrays"
    concurrent: bool = False

    @abstractmethod
    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for one batch of inputs by name, batch first."""
