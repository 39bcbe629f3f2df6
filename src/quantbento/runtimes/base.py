"""The contracts of a runtime.

A runtime's contract says what its loaded models can do. `arrays`: arrays in, arrays out. `tokens`: score and continue
token ids. A task names the contract its models need, never a runtime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from pydantic import BaseModel

from quantbento.core.errors import one_of
from quantbento.tasks.base import Contract
from quantbento.tasks.source import SourceKind, SourceModel


class ReferenceJob(Protocol):
    """What `Runtime.write_reference` reads. `quantbento.inputs.job.Job` is one."""

    source: SourceModel
    task: Any
    calibration: Any

    def onnx(self) -> Path:
        """The model as an ONNX file."""

    def gguf(self) -> Path:
        """The model as a GGUF file in its own dtype."""


class Runtime(ABC):
    """A loaded model and the engine that runs it.

    The class attributes are read without importing the engine, so a runtime's module imports it inside functions.

    Attributes:
        name: what the registry, manifests and reports call it.
        contract: what its loaded models can do.
        modules: the import names it needs, checked before any work starts.
        distributions: packages whose versions decide how it computes; alternatives that are not installed are left
            out. They are part of a variant's fingerprint and of the report's environment.
        extra: this project's extra that installs them; None where another package brings the runtime.
        cpu_extra: the extra for machines without a GPU, where that is another one.
        devices: devices it can run on, as PyTorch calls them.
        gpu_distribution: the package that a Bento on an NVIDIA GPU has, and one on a CPU has not.
        runs: kinds of full-precision models that it runs as they are; the first runtime that does so for a model
            gives its baseline.
        concurrent: whether several calls may run at once, from several threads, each on the cores it was loaded for.
        calls_at_once: how many calls it takes at once on any device, where it makes batches of what they bring itself.
            1: each call is a batch.
        model_types: by name of task, the `model_type`s of models in hub format that it runs. None: it runs every task
            of its contract, and every model.
        reference_dtypes: by kind of device, dtypes besides the model's own in which full precision is written for it.
        compiles: whether full precision can be compiled when it is loaded, with `"compile": True` in its config.
        compiles_shapes: whether the first call with inputs of a new shape takes longer than later ones. Speed is that
            of later ones.
        takes_adapters: whether it runs LoRA adapters beside a model, each chosen by its name.
        start_seconds: seconds a container with it may take to become ready.
        Settings: the schema of `task_options.engine`; None where it has no settings.
        device: of a loaded model, what it runs on.
    """

    declares: ClassVar[tuple[str, ...]] = ("name", "contract", "modules", "distributions")

    name: ClassVar[str]
    contract: ClassVar[Contract]
    modules: ClassVar[tuple[str, ...]]
    distributions: ClassVar[tuple[str, ...]]
    extra: ClassVar[str | None] = None
    cpu_extra: ClassVar[str | None] = None
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    gpu_distribution: ClassVar[str | None] = None
    runs: ClassVar[tuple[SourceKind, ...]] = ()
    concurrent: ClassVar[bool] = False
    calls_at_once: ClassVar[int] = 1
    model_types: ClassVar[Mapping[str, tuple[str, ...]] | None] = None
    reference_dtypes: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    compiles: ClassVar[bool] = False
    compiles_shapes: ClassVar[bool] = False
    takes_adapters: ClassVar[bool] = False
    start_seconds: ClassVar[int] = 120
    Settings: ClassVar[type[BaseModel] | None] = None

    device: str = "cpu"

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Self:
        """The model in an artifact folder, ready to run on a device. On the CPU, each call takes `threads` cores."""

    @classmethod
    def load_shared(cls, folder: Path, config: dict[str, Any], *, threads: int, callers: int) -> Self:
        """As `load`, for `callers` threads that run it at once on the CPU, each call on `threads` cores. Only of
        runtimes that are `concurrent`; most need not be told how many call."""
        return cls.load(folder, config, threads=threads)

    @classmethod
    def device_problem(cls, device: str) -> str | None:
        """Why the engine as it is installed cannot use a device of one of its kinds, and what helps; None where it
        can. Imports the engine."""
        return None

    @classmethod
    def model_problem(cls, task: str, config: Mapping[str, Any], here: bool = True) -> str | None:
        """Why it does not run a model in hub format for a task; None where nothing is known against it.

        Args:
            task: its name.
            config: what the model's `config.json` holds.
            here: whether the engine as it is installed has to run it.
        """
        if cls.model_types is None:
            return None
        if (known := cls.model_types.get(task)) is None:
            return f"{cls.name} does not run {task}; it runs {', '.join(cls.model_types)}"
        if (kind := config.get("model_type")) in known:
            return None
        return f"{cls.name} does not run {task} by models of the type {kind!r}; by {one_of(known)}"

    @classmethod
    def write_reference(cls, job: ReferenceJob, folder: Path, dtype: str) -> dict[str, Any] | None:
        """Writes the full-precision model for this runtime, and returns its `config`. None where this runtime has no
        full precision; the report then says so.

        Args:
            job: holds the source model, which is not changed.
            folder: the artifact folder, empty.
            dtype: "float32", "bfloat16" or "float16": the source's own, or one of `reference_dtypes`.

        Raises:
            QuantbentoError: this runtime has full precision, but not for this model.
        """
        return None

    def peak_memory_bytes(self) -> int | None:
        """Peak resident memory of the engine's own process; None where it shares this one."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Frees the model, and ends its process if it has one; may be called again."""


class ArrayRuntime(Runtime):
    """Takes and returns arrays."""

    contract = "arrays"

    @abstractmethod
    def run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for one batch of inputs by name, batch first."""
