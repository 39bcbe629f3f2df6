"""A loaded model that takes and returns arrays: a callable from a list of inputs to a list of answers.

The same object judges a variant and serves it. Inputs that cannot share a batch (images of different sizes) are
grouped. Each group runs in chunks (`quantbento.runtimes.chunks`), side by side where the runtime allows it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from quantbento.runtimes.base import ArrayRuntime
from quantbento.runtimes.chunks import chunks_of
from quantbento.tasks.rows import joined

if TYPE_CHECKING:
    from quantbento.tasks.array import ArrayTask
    from quantbento.tasks.base import Arrays


class Predictor:
    """A `LoadedModel` of the contract `arrays`: `predictor(inputs)` is one answer per input, in order.

    Attributes:
        task: what the model is for.
        runtime: the engine that runs it.
        parallel: how many batches run at once.
        custom_objects: the Python objects saved with it, by name. One named `preprocess` is called with each
            input before anything else sees it.
    """

    def __init__(
        self, task: ArrayTask, runtime: ArrayRuntime, custom_objects: dict[str, Any], parallel: int = 1
    ) -> None:
        """More than one batch at once needs a runtime that is `concurrent`, or has `calls_at_once`."""
        self.task, self.runtime, self.custom_objects = task, runtime, custom_objects
        self.parallel = parallel
        self._pool = ThreadPoolExecutor(parallel, "quantbento") if parallel > 1 else None

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Answers in the order of the inputs.

        Raises:
            InvalidInput: an input the model cannot take; `index` says which.
        """
        return self.answers(self.check(inputs))

    def check(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs preprocessed and in canonical form, ready for `run`; raises `InvalidInput` as a call does."""
        return self.task.check_all(inputs, self.custom_objects.get("preprocess"))

    def answers(self, checked: Sequence[Any], here: bool = False) -> list[Any]:
        """The answers to inputs that went through `check`.

        Args:
            checked: the inputs.
            here: in the calling thread alone, for one that asks from `parallel` threads itself.
        """
        return self.task.answers(self.run(checked, here), checked) if len(checked) else []

    def rows(self, inputs: Sequence[Any]) -> Arrays:
        """What the metrics compare: arrays by output name, one row per input."""
        return self.rows_of(self.check(inputs))

    def rows_of(self, checked: Sequence[Any]) -> Arrays:
        """The same of inputs that went through `check`."""
        return self.task.to_compare(self.run(checked), checked)

    def run(self, checked: Sequence[Any], here: bool = False) -> Arrays:
        """What the model gives for inputs that went through `check`: arrays by name, one row per input."""
        encoded = self.task.encode_all(checked)
        pool = None if here else self._pool
        chunks = self._chunks(encoded, self.parallel if pool else 1)

        def run(chunk: list[int]) -> Arrays:
            batch = self.task.collate([encoded[i] for i in chunk])
            return self.task.postprocess(self.runtime.run(batch), batch)

        results = list(map(run, chunks) if pool is None or len(chunks) == 1 else pool.map(run, chunks))
        order = [index for chunk in chunks for index in chunk]
        return {name: joined((r[name] for r in results), order) for name in results[0]}

    def _chunks(self, encoded: Sequence[Any], parallel: int) -> list[list[int]]:
        """The indices of the inputs that run together."""
        groups: dict[Hashable, list[int]] = {}
        for index, item in enumerate(encoded):
            groups.setdefault(self.task.group(item), []).append(index)
        chunks = []
        for group in groups.values():
            lengths = [self.task.length(encoded[i]) for i in group]
            cut = chunks_of(lengths, self.task.chunk_items, parallel)
            chunks += [[group[i] for i in chunk] for chunk in cut]
        return chunks

    def work(self, inputs: Sequence[Any]) -> int:
        """Answers the inputs, for measuring speed. Returns the number of answers, one per input."""
        return len(self(inputs))

    def sample(self, inputs: Sequence[Any]) -> None:
        """None: reading one array tells less than the metrics do."""

    def close(self) -> None:
        """Ends the threads and the engine; the predictor cannot be used afterwards."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self.runtime.close()
