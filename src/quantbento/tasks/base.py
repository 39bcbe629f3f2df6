"""The contract of a task.

Rows are what variants are compared by: one array a name, batch first, in the order of the inputs. In an `ArrayTask`
inputs travel as `item -> encoded -> batch (arrays by input name) -> outputs -> rows -> answer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from quantbento.core.errors import InvalidInput

if TYPE_CHECKING:
    from quantbento.inputs.samples import SampleSet
    from quantbento.inputs.source import SourceModel

Arrays = dict[str, np.ndarray]


class Metric(NamedTuple):
    """`better` is +1 where larger is better, -1 where smaller is. Recovery is variant / baseline, or the other way
    round where smaller is better; `recovers` says whether the baseline's own value is one to divide by."""

    better: int
    meaning: str
    recovers: bool = True


class TaskOptions(BaseModel):
    """A task without options of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(ABC):
    name: ClassVar[str]
    metrics: ClassVar[dict[str, Metric]]
    primary: ClassVar[tuple[str, ...]]  # for the table: the first of these that was measured
    runtimes: ClassVar[tuple[str, ...]]  # that can run its models, the preferred first
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    takes_onnx: ClassVar[bool] = False
    takes_preprocess: ClassVar[bool] = True  # a function of the user's that every input goes through
    throughput_unit: ClassVar[str] = "inputs/s"
    concurrent: ClassVar[bool] = False  # chunks are small: better side by side than one after the other

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

    def runtime_config(self, runtime: str) -> dict[str, Any]:
        """What the recipe's task options tell the runtime, for `artifact.json`."""
        return {}

    @abstractmethod
    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        """The metrics of a variant's rows; of the baseline's own when both are the same."""

    @abstractmethod
    def example(self) -> Any:
        """A checked item, for a warm-up."""

    @abstractmethod
    def item_schema(self) -> dict[str, Any]:
        """JSON schema of one item, for OpenAPI."""


class ArrayTask(Task):
    """A task whose model takes and gives arrays, batch first; see `quantbento.runtimes.predictor`."""

    runtimes = ("torch", "onnx")
    chunk_items: ClassVar[int] = 64  # inputs run at once

    input_names: list[str]
    output_names: list[str]

    @abstractmethod
    def encode(self, item: Any) -> Any:
        """One checked item as model input, without the batch dimension."""

    def length(self, encoded: Any) -> int:
        """What inputs are grouped by before they are run, so that little is padded."""
        return 0

    @abstractmethod
    def collate(self, encoded: Sequence[Any]) -> Arrays:
        """A batch by input name, padded to its longest member."""

    @abstractmethod
    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Model outputs as rows, batch first, float32."""

    @abstractmethod
    def answers(self, rows: Arrays) -> list[Any]:
        """One answer a row."""
