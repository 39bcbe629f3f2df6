"""The contract of a task whose model takes and returns arrays.

Inputs travel as `item -> encoded -> batch (arrays by input name) -> outputs -> rows -> answer`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from quantbento.tasks.base import Arrays, Task
from quantbento.tasks.source import SourceKind

if TYPE_CHECKING:
    from quantbento.recipe import Calibration


class ArrayTask(Task):
    """A task whose model takes and returns arrays, batch first; see `quantbento.runtimes.predictor`.

    Attributes:
        chunk_items: inputs per batch.
        input_names, output_names: the model's.
    """

    contract = "arrays"
    starts_from: ClassVar[tuple[SourceKind, ...]] = ("module",)
    chunk_items: int = 64

    input_names: list[str]
    output_names: list[str]

    def dynamic_axes(self) -> dict[str, tuple[int, ...]]:
        """For each input name, the axes whose size differs between batches: by default 0, the batch."""
        return {name: (0,) for name in self.input_names}

    @classmethod
    def calibration_problems(cls, wanted: Calibration) -> dict[str, str]:
        given = [name for name in ("sequences", "sequence_length") if name in wanted.model_fields_set]
        return dict.fromkeys(given, f"is for text-generation, whose texts are cut; {cls.name} takes `count` samples")

    def calibrate(self, checked: Sequence[Any], wanted: Calibration) -> list[Arrays]:
        """Batches of model inputs by name, at most `chunk_items` in each. Within a group they are in the order of the
        samples."""
        groups: dict[Hashable, list[Any]] = {}
        for item in map(self.encode, checked):
            groups.setdefault(self.group(item), []).append(item)
        size = self.chunk_items
        return [self.collate(group[i : i + size]) for group in groups.values() for i in range(0, len(group), size)]

    @abstractmethod
    def encode(self, item: Any) -> Any:
        """One checked item as model input, without the batch dimension."""

    def encode_all(self, items: Sequence[Any]) -> list[Any]:
        """The same of several items; a task overrides it where that is faster."""
        return [self.encode(item) for item in items]

    def size(self, item: Any) -> int:
        """About how much work a checked item is beside others, in the unit of `length`, without encoding it: what waits
        for the model is shared and bounded by it. At least 1; by default all are alike."""
        return 1

    def length(self, encoded: Any) -> int:
        """What inputs are sorted by before they are cut into batches, so that little is padded."""
        return 0

    def group(self, encoded: Any) -> Hashable:
        """Inputs of one group can share a batch. By default all can."""
        return None

    @abstractmethod
    def collate(self, encoded: Sequence[Any]) -> Arrays:
        """A batch by input name, padded to its longest member."""

    @abstractmethod
    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        """Model outputs as rows (`quantbento.tasks.rows`): by name, one row per member of the batch."""

    @abstractmethod
    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[Any]:
        """One answer per row. `items` are the checked items that the rows belong to."""

    def to_compare(self, rows: Arrays, items: Sequence[Any]) -> Arrays:
        """What `compare` gets of the rows of checked items. By default the rows; a task whose metrics need something of
        the items (which of them belong together, what of them is judged) adds or picks it here."""
        return rows
