"""The task: arrays of any type and shape in, arrays out.

Names, types and shapes come from the ONNX graph, or from the module and the samples. What cannot be seen there, a
recipe says: which inputs have their batch elsewhere than first, or none, and which sizes are free. Inputs of different
shapes, or with different shared values, never meet in one batch.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.tasks import difficult
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays, Metric
from quantbento.tasks.metrics import class_indices, confusion, macro_f1, matthews, output_metrics
from quantbento.tasks.resampled import resampled_output_metrics
from quantbento.tasks.source import SampleSet, SourceKind, SourceModel
from quantbento.tasks.tensor import graph, module
from quantbento.tasks.tensor.inputs import Input
from quantbento.tasks.tensor.layout import Layout
from quantbento.tasks.tensor.options import TensorOptions, check_names

_NAMES = reprlib.Repr()  # of what was sent: any number of names, of any length
_NAMES.maxlist = 64


class TensorTask(ArrayTask):
    """
    Attributes:
        inputs: what the model takes.
        layout: where the batch is in what it gives.
        labels: names of the classes.
    """

    name = "tensor"
    Options = TensorOptions
    starts_from: ClassVar[tuple[SourceKind, ...]] = ("module", "onnx")
    metrics = {
        "accuracy": Metric(+1, labelled=True),
        "f1_macro": Metric(+1, labelled=True),
        "mcc": Metric(+1, labelled=True),
        "agreement": Metric(+1),
        "sqnr_db": Metric(+1, recovers=False),
        "max_error": Metric(-1, recovers=False, extreme=True),
    }
    primary = ("accuracy", "sqnr_db", "agreement")
    fields = ()

    def __init__(self, inputs: Sequence[Input], layout: Layout, labels: list[str] | None = None) -> None:
        self.inputs, self.layout, self.labels = list(inputs), layout, labels
        self.input_names, self.output_names = [i.name for i in self.inputs], list(layout.outputs)
        self.notes = layout.notes
        if layout.batch is not None:
            self.chunk_items = 1

    @classmethod
    def create(cls, source: SourceModel, options: TensorOptions, samples: SampleSet) -> Self:
        if source.onnx is not None:
            inputs, layout = graph.understand(source.onnx, options, samples)
        else:
            inputs, layout = module.understand(source.module, options, samples)
        check_names(options, [i.name for i in inputs], layout.outputs)
        return cls(inputs, layout, options.labels)

    def save(self, folder: Path) -> dict[str, Any]:
        return {
            "inputs": [asdict(i) for i in self.inputs],
            "outputs": self.layout.outputs,
            "batch": self.layout.batch,
            "labels": self.labels,
        }

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        if "shapes" in config:  # of version 0.2 and older: float32, and the batch first
            shapes: dict[str, list[int]] = config["shapes"]
            inputs = [Input(name, "float32", tuple(shape), tuple(shape)) for name, shape in shapes.items()]
            return cls(inputs, Layout(dict.fromkeys(config["output_names"], 0)), config["labels"])
        inputs = [Input(**{**i, "shape": tuple(i["shape"]), "sizes": tuple(i["sizes"])}) for i in config["inputs"]]
        return cls(inputs, Layout(config["outputs"], config["batch"]), config["labels"])

    def dynamic_axes(self) -> dict[str, tuple[int, ...]]:
        fixed = self.layout.batch is not None
        return {i.name: tuple(a for a in i.dynamic_axes if not (fixed and a == i.batch_axis)) for i in self.inputs}

    def check(self, item: Any) -> Arrays:
        """Arrays by input name, each of the model's type and shape, without NaN and infinity."""
        if not isinstance(item, dict):
            if len(self.inputs) != 1:
                raise InvalidInput(f"must be a mapping with the inputs {sorted(self.input_names)}")
            item = {self.input_names[0]: item}
        if set(item) != set(self.input_names):
            given = _NAMES.repr(sorted(map(str, item)))
            raise InvalidInput(f"has inputs {given}; needed are {sorted(self.input_names)}")
        return {i.name: i.check(item[i.name]) for i in self.inputs}

    def encode(self, item: Arrays) -> Arrays:
        return item

    def group(self, encoded: Arrays) -> Hashable:
        free = tuple(encoded[i.name].shape for i in self.inputs if i.free)
        shared = tuple(encoded[i.name].tobytes() for i in self.inputs if i.batch_axis is None)
        return free, shared

    def collate(self, encoded: Sequence[Arrays]) -> Arrays:
        copies = self.layout.batch or 1
        return {i.name: i.batch([e[i.name] for e in encoded] * copies) for i in self.inputs}

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        count = next((batch[i.name].shape[i.batch_axis] for i in self.inputs if i.batch_axis is not None), 1)
        return {name: self._rows(name, outputs[name], count) for name in self.output_names}

    def _rows(self, name: str, value: np.ndarray, count: int) -> np.ndarray:
        """The batch first. float16 becomes float32; other types stay."""
        value = value.astype(np.float32) if value.dtype == np.float16 else value
        if (axis := self.layout.outputs[name]) is None:
            return value[None]
        if value.ndim <= axis or value.shape[axis] != count:
            raise QuantbentoError(f"the model gives an output {name!r} of shape {value.shape} for {count} items")
        rows = np.moveaxis(value, axis, 0)
        return rows if self.layout.batch is None else rows[:1]

    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[Any]:
        """One array per sample, or one mapping by output name where the model has several outputs."""
        if len(rows) == 1:
            return list(next(iter(rows.values())))
        return [{n: rows[n][i] for n in rows} for i in range(len(items))]

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        """With labels, the first output holds the class, or the scores of the classes in its last axis."""
        own, other = self._outputs(baseline), self._outputs(variant)
        metrics = output_metrics(own, other)
        if labels is not None:
            indices = class_indices(labels, self.labels)
            metrics |= _of_classes(indices, self._classes(other, len(indices)), self._classes(own, len(indices)))
        return metrics

    def resampler(
        self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None
    ) -> Callable[[np.ndarray], dict[str, float]]:
        if type(self).compare is not TensorTask.compare:  # a task of the user's, with metrics of its own
            return super().resampler(baseline, variant, labels)
        own, other = self._outputs(baseline), self._outputs(variant)
        apart = resampled_output_metrics(own, other)
        if labels is None:
            return apart
        indices = class_indices(labels, self.labels)
        chosen, agreed = self._classes(other, len(indices)), self._classes(own, len(indices))
        return lambda places: apart(places) | _of_classes(indices[places], chosen[places], agreed[places])

    def _outputs(self, rows: Arrays) -> Arrays:
        return {name: rows[name] for name in self.output_names}

    def _classes(self, rows: Arrays, count: int) -> np.ndarray:
        """The class of each item, (items,): the first output where that is an integer, or where its scores are
        highest."""
        first = rows[self.output_names[0]]
        if first.dtype.kind == "f" and first.ndim > 1:
            first = first.argmax(-1)
        if first.dtype.kind not in "iu" or first.size != count:
            raise QuantbentoError(
                f"the samples have labels, but the first output, {self.output_names[0]!r}, gives no class or scores of "
                "classes for an item; leave the labels out"
            )
        return first.reshape(count)

    def examples(self) -> list[Arrays]:
        return [{i.name: i.example() for i in self.inputs}]

    def difficult(self, checked: Sequence[Any]) -> dict[str, list[Any]]:
        return difficult.arrays(checked)

    def answer_schema(self) -> dict[str, Any]:
        return {}  # an array, or arrays by output name, whose shapes only the model knows

    def item_schema(self) -> dict[str, Any]:
        schemas = {i.name: i.schema() for i in self.inputs}
        if len(schemas) == 1:
            return next(iter(schemas.values()))
        return {"type": "object", "properties": schemas, "required": list(schemas), "additionalProperties": False}


def _of_classes(indices: np.ndarray, chosen: np.ndarray, agreed: np.ndarray) -> dict[str, float]:
    """Of the right class, the variant's and the baseline's, (items,) each."""
    counts = confusion(indices, chosen)
    shares = {"accuracy": float((chosen == indices).mean()), "agreement": float((chosen == agreed).mean())}
    return shares | {"f1_macro": macro_f1(counts), "mcc": matthews(counts)}
