"""The contract of a task.

Inputs travel as `item -> encoded -> batch (arrays by input name) -> outputs -> rows -> answer`. Rows are what
variants are compared by: one array a name, batch first, in the order of the inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from quantbento.samples import SampleSet
    from quantbento.source import SourceModel

Arrays = dict[str, np.ndarray]


class Metric(NamedTuple):
    """`better` is +1 where larger is better, -1 where smaller is."""

    better: int
    meaning: str


class TaskOptions(BaseModel):
    """A task without options of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(ABC):
    name: ClassVar[str]
    metrics: ClassVar[dict[str, Metric]]
    primary: ClassVar[tuple[str, ...]]  # for the table: the first of these that was measured
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    takes_onnx: ClassVar[bool] = False
    chunk_items: ClassVar[int] = 64  # inputs run at once; see quantbento.predictor
    concurrent: ClassVar[bool] = False  # chunks are small: better side by side than one after the other

    input_names: list[str]
    output_names: list[str]

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

    @abstractmethod
    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        """The metrics of a variant's rows; of the baseline's own when both are the same."""

    @abstractmethod
    def example(self) -> Any:
        """A checked item, for a warm-up."""

    @abstractmethod
    def item_schema(self) -> dict[str, Any]:
        """JSON schema of one item, for OpenAPI."""
