"""The contract of a task.

Rows are what variants are compared by: one array per name, batch first, in the order of the inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from quantbento.core.errors import InvalidInput
from quantbento.runtimes.base import Contract, SourceKind

if TYPE_CHECKING:
    from quantbento.inputs.samples import SampleSet
    from quantbento.inputs.source import SourceModel
    from quantbento.recipe import Calibration

Arrays = dict[str, np.ndarray]


class Metric(NamedTuple):
    """`better` is +1 where larger is better, -1 where smaller is. Recovery is variant / baseline, or the other way
    round where smaller is better; `recovers` says whether the baseline's own value is one to divide by."""

    better: int
    recovers: bool = True


class TaskOptions(BaseModel):
    """A task without options of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(ABC):
    """What a model is for.

    Attributes:
        name: what recipes, manifests and reports call it.
        contract: what it asks of a runtime.
        metrics: by name; gates may name no others.
        primary: for the table, the first of these that was measured.
        Options: what `task_options` may say, strict.
        starts_from: kinds of models it takes.
        auto_class: of Transformers, that reads its models from a folder in hub format; None where only a user's
            function or an ONNX file gives one.
        on_disk: whether its models stay on disk: quantizers and runtimes read a checkpoint themselves.
        takes_preprocess: whether a function of the user's may see every input first.
        throughput_unit: of what a speed measurement counts.
        concurrent: whether its batches are small and better run side by side than one after the other.
        distributions: packages whose versions decide how it reads inputs; part of a variant's fingerprint.
    """

    declares: ClassVar[tuple[str, ...]] = ("name", "contract", "metrics", "primary", "starts_from")

    name: ClassVar[str]
    contract: ClassVar[Contract]
    metrics: ClassVar[dict[str, Metric]]
    primary: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    starts_from: ClassVar[tuple[SourceKind, ...]]
    auto_class: ClassVar[str | None] = None
    on_disk: ClassVar[bool] = False
    takes_preprocess: ClassVar[bool] = True
    throughput_unit: ClassVar[str] = "inputs/s"
    concurrent: ClassVar[bool] = False
    distributions: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def create(cls, source: SourceModel, options: Any, samples: SampleSet) -> Self:
        """The task for a full-precision model, read from the model's own configuration."""

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Any]:
        """Writes the files the task needs (a tokenizer) and returns its JSON configuration."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The task as `save` left it."""

    @abstractmethod
    def check(self, item: Any) -> Any:
        """The item in its canonical form; cheap enough for every request.

        Raises:
            InvalidInput: says what is allowed.
        """

    def check_all(self, items: Sequence[Any], preprocess: Callable[[Any], Any] | None) -> list[Any]:
        """The items, preprocessed where the user's own function is given, in canonical form.

        Raises:
            InvalidInput: `index` says which item.
        """
        checked = []
        for index, item in enumerate(items):
            try:
                checked.append(self.check(item if preprocess is None else preprocess(item)))
            except InvalidInput as error:
                raise InvalidInput(error.message, index) from None
            except Exception as error:
                if preprocess is None:
                    raise
                raise InvalidInput(f"preprocess failed: {type(error).__name__}: {error}", index) from error
        return checked

    def check_files(self) -> None:  # noqa: B027 - most need nothing
        """Whether what the task needs of a model's folder is there; asked before weights are read, where the model
        stays on disk.

        Raises:
            QuantbentoError: says what is missing.
        """

    def check_enough(  # noqa: B027 - most are judged on whatever there is
        self, kind: str, items: Sequence[Any], calibration: Calibration | None
    ) -> None:
        """Whether samples are right and enough; asked before weights are read, where the model stays on disk.

        Args:
            kind: "evaluation" or "calibration".
            items: as they were given.
            calibration: what the recipe asks for.

        Raises:
            QuantbentoError: they are too few, or one cannot be used.
        """

    @classmethod
    def calibration_problems(cls, wanted: Calibration) -> dict[str, str]:
        """Keys of a recipe's `calibration:` that have no meaning for this task, and what to say of each."""
        return {}

    @abstractmethod
    def calibrate(self, checked: Sequence[Any], wanted: Calibration) -> Any:
        """Samples in canonical form as what quantizers calibrate on: token ids, or batches of model inputs.

        Raises:
            QuantbentoError: there are too few.
        """

    @abstractmethod
    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        """The metrics of a variant's rows; of the baseline's own when both are the same."""

    @abstractmethod
    def examples(self) -> list[Any]:
        """One or more checked items, of different lengths where lengths differ: to warm up with, and for exporters
        that trace a model. Made here, not taken from anybody's samples."""

    @abstractmethod
    def item_schema(self) -> dict[str, Any]:
        """JSON schema of one item, for OpenAPI."""

    @abstractmethod
    def answer_schema(self) -> dict[str, Any]:
        """JSON schema of one answer, for OpenAPI."""
