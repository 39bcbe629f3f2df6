"""The contract of a task.

Variants are compared by their rows (`quantbento.tasks.rows`): by name, one row per input, in the order of the inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from quantbento.core.errors import InvalidInput
from quantbento.tasks.source import SampleSet, SourceKind, SourceModel

if TYPE_CHECKING:
    from quantbento.recipe import Calibration

Arrays = dict[str, np.ndarray]
Contract = Literal["arrays", "tokens"]  # what a task asks of a runtime; see quantbento.runtimes.base


class Metric(NamedTuple):
    """`better` is +1 where larger is better, -1 where smaller is. Recovery is variant / baseline, or baseline / variant
    where smaller is better. `recovers` is False where the baseline's own value is always 0, as of an error. `labelled`
    is True where it is only measured on samples with labels. `extreme` is True where one sample decides, as of a
    maximum: it has no bootstrap interval, because resampling never finds a larger one."""

    better: int
    recovers: bool = True
    labelled: bool = False
    extreme: bool = False


class TaskOptions(BaseModel):
    """A task without options of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(ABC):
    """What a model is for.

    Attributes:
        name: what recipes, manifests and reports call it.
        contract: what it asks of a runtime.
        metrics: by name; gates may name no others.
        primary: metrics for the summary table, which shows the first of them that was measured.
        Options: the schema of `task_options`; unknown keys are refused.
        starts_from: kinds of models it takes.
        auto_class: the Transformers class that reads its models from a folder in hub format; None where models only
            come from a user's function or an ONNX file.
        on_disk: whether its models stay on disk: quantizers and runtimes read a checkpoint themselves.
        takes_preprocess: whether the user may give a function that sees every input first.
        fields: what an item is made of, by the names of the columns of a table of samples. One field: its value is the
            item. Several: an item is a mapping of all of them. None: items are arrays.
        suffixes: endings of files that are items by themselves, such as ".png". Samples may then be a folder of them
            with a subfolder for each class, and a table names files.
        throughput_unit: the unit of measured throughput.
        concurrent: whether its batches are small, so that running several at once beats running them in turn.
        distributions: packages whose versions decide how it reads inputs; part of a variant's fingerprint.
        modules: the import names that a served model of it needs, beside its runtime's.
        request_bytes: memory that reading a request can take beside what the model needs: an image may be large.
        extra: this project's extra that installs them; None where that is another package's.
        quickest: options that only take time, with the least that still runs; a rehearsal uses them.
        together: the rows that number what belongs together, such as the documents of one query; resampling then draws
            these as one. None where each row stands alone.
        notes: what people should know of how it runs a model; shown once, when it was made.
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
    fields: ClassVar[tuple[str, ...]] = ("text",)
    suffixes: ClassVar[tuple[str, ...]] = ()
    throughput_unit: ClassVar[str] = "inputs/s"
    concurrent: ClassVar[bool] = False
    distributions: ClassVar[tuple[str, ...]] = ()
    modules: ClassVar[tuple[str, ...]] = ()
    request_bytes: ClassVar[int] = 0
    extra: ClassVar[str | None] = None
    quickest: ClassVar[dict[str, Any]] = {}
    together: ClassVar[str | None] = None
    notes: Sequence[str] = ()

    @classmethod
    def suits(cls, config: dict[str, Any]) -> bool:
        """Whether a model that `auto_class` reads is one for this task, by its configuration (`config.json`). Tasks
        that share a class tell their models apart with it."""
        return True

    @classmethod
    def claims(cls, folder: Path) -> bool:
        """Whether files in a model's folder say that the model is for this task, whichever class its configuration
        names."""
        return False

    @classmethod
    def measured(cls, config: dict[str, Any]) -> dict[str, Metric]:
        """The metrics of a model with this configuration (`config.json`): all, unless the task's models differ."""
        return cls.metrics

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
        """The task that `save` wrote."""

    @abstractmethod
    def check(self, item: Any) -> Any:
        """The item in its canonical form; cheap enough for every request.

        Raises:
            InvalidInput: says what is allowed.
        """

    def check_all(self, items: Sequence[Any], preprocess: Callable[[Any], Any] | None) -> list[Any]:
        """The items in canonical form, after the user's `preprocess` function if there is one.

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
        """Checks that the model's folder holds what the task needs. Called before weights are read, where the model
        stays on disk.

        Raises:
            QuantbentoError: says what is missing.
        """

    def check_enough(  # noqa: B027 - most are judged on whatever there is
        self, kind: str, items: Sequence[Any], calibration: Calibration | None
    ) -> None:
        """Checks that samples are usable and enough. Called before weights are read, where the model stays on disk.

        Args:
            kind: "evaluation" or "calibration".
            items: as they were given.
            calibration: what the recipe asks for.

        Raises:
            QuantbentoError: they are too few, or one cannot be used.
        """

    @classmethod
    def calibration_problems(cls, wanted: Calibration) -> dict[str, str]:
        """Keys of a recipe's `calibration:` that mean nothing for this task, with the message for each."""
        return {}

    @abstractmethod
    def calibrate(self, checked: Sequence[Any], wanted: Calibration) -> Any:
        """What quantizers calibrate on, from samples in canonical form: token ids, or batches of model inputs.

        Raises:
            QuantbentoError: there are too few.
        """

    @abstractmethod
    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        """The metrics of a variant's rows. With the baseline's rows as both arguments: the baseline's own metrics."""

    def divergence(self, baseline: Arrays, variant: Arrays) -> dict[str, float]:
        """Of a language model's rows, how far its distributions of the next token are from the baseline's, for people
        to read; empty for all other tasks. See `quantbento.tasks.divergence`."""
        return {}

    def resampler(
        self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None
    ) -> Callable[[np.ndarray], dict[str, float]]:
        """A function from places of rows, int64, to the metrics of these rows; a place may be there several times. It
        is called hundreds of times: a task overrides this where much of its work is the same for all choices."""

        def of(places: np.ndarray) -> dict[str, float]:
            own = None if labels is None else [labels[i] for i in places]
            b, v = ({name: values[places] for name, values in rows.items()} for rows in (baseline, variant))
            return self.compare(b, v, own)

        return of

    @abstractmethod
    def examples(self) -> list[Any]:
        """One or more checked items for warm-up and for exporters that trace a model. They have different lengths
        where lengths can differ. They are made up here, never taken from a user's samples."""

    def difficult(self, checked: Sequence[Any]) -> dict[str, list[Any]]:
        """Inputs that services get and samples seldom have, by kind: what a model is tried on beside its samples. An
        item that `check` refuses shows that services refuse it.

        Args:
            checked: a few of the samples in canonical form, for kinds that are made of them.
        """
        return {}

    @abstractmethod
    def item_schema(self) -> dict[str, Any]:
        """JSON schema of one item, for OpenAPI."""

    @abstractmethod
    def answer_schema(self) -> dict[str, Any]:
        """JSON schema of one answer, for OpenAPI."""
