"""Any PyTorch module or ONNX graph with named float inputs, batch first.

Names and shapes come from the evaluation samples. With labels, the last axis of the first output is read as class
scores.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from quantbento.core.errors import InvalidInput, QuantbentoError, did_you_mean, one_of
from quantbento.tasks.array import ArrayTask
from quantbento.tasks.base import Arrays, Metric, TaskOptions
from quantbento.tasks.metrics import class_indices, classification_metrics, sqnr_db
from quantbento.tasks.source import SampleSet, SourceKind, SourceModel


class TensorOptions(TaskOptions):
    labels: list[str] | None = None


class TensorTask(ArrayTask):
    name = "tensor"
    Options = TensorOptions
    starts_from: ClassVar[tuple[SourceKind, ...]] = ("module", "onnx")
    metrics = {
        "accuracy": Metric(+1),
        "agreement": Metric(+1),
        "sqnr_db": Metric(+1),
        "max_error": Metric(-1, recovers=False),
    }
    primary = ("accuracy", "sqnr_db")
    fields = ()

    def __init__(self, shapes: dict[str, list[int]], output_names: list[str], labels: list[str] | None) -> None:
        self.shapes, self.output_names, self.labels = shapes, output_names, labels
        self.input_names = list(shapes)

    @classmethod
    def create(cls, source: SourceModel, options: TensorOptions, samples: SampleSet) -> Self:
        names, outputs = _onnx_names(source.onnx) if source.onnx else (_forward_names(source.module), ["output"])
        first = samples.inputs[0]
        given = first if isinstance(first, dict) else {names[0]: first}
        if unknown := [n for n in given if n not in names]:
            raise QuantbentoError(
                f"the samples name inputs the model does not have: {one_of(unknown)}"
                f"{did_you_mean(unknown[0], names)} (it has {one_of(names)})"
            )
        shapes = {n: list(np.shape(given[n])) for n in names if n in given}
        if source.module is not None:
            outputs = _output_names(source.module, shapes)
        return cls(shapes, outputs, options.labels)

    def save(self, folder: Path) -> dict[str, Any]:
        return {"shapes": self.shapes, "output_names": self.output_names, "labels": self.labels}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(**config)

    def check(self, item: Any) -> Arrays:
        """float32 arrays by input name, each of the model's shape, all finite."""
        if not isinstance(item, dict):
            if len(self.shapes) != 1:
                raise InvalidInput(f"must be a mapping with {one_of(self.shapes)}")
            item = {self.input_names[0]: item}
        if set(item) != set(self.shapes):
            raise InvalidInput(f"has inputs {sorted(map(str, item))}; needed are {sorted(self.shapes)}")
        return {name: self._check_array(name, item[name]) for name in self.shapes}

    def _check_array(self, name: str, value: Any) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
                array = np.asarray(value, dtype=np.float32)
        except (ValueError, TypeError, OverflowError):
            raise InvalidInput(f"{name} must be numbers of shape {tuple(self.shapes[name])}, and is not") from None
        if list(array.shape) != self.shapes[name]:
            raise InvalidInput(f"{name} must have shape {tuple(self.shapes[name])}, not {array.shape}")
        if not np.isfinite(array).all():
            raise InvalidInput(f"{name} must be finite in float32: it holds NaN or infinity")
        return array

    def encode(self, item: Arrays) -> Arrays:
        return item

    def collate(self, encoded: Sequence[Arrays]) -> Arrays:
        return {name: np.stack([e[name] for e in encoded]) for name in self.input_names}

    def postprocess(self, outputs: Arrays, batch: Arrays) -> Arrays:
        return {name: value.astype(np.float32, copy=False) for name, value in outputs.items()}

    def answers(self, rows: Arrays, items: Sequence[Any]) -> list[Any]:
        """One array per sample, or one mapping by output name where the model has several outputs."""
        if len(rows) == 1:
            return list(next(iter(rows.values())))
        return [{n: rows[n][i] for n in rows} for i in range(len(next(iter(rows.values()))))]

    def compare(self, baseline: Arrays, variant: Arrays, labels: Sequence[Any] | None) -> dict[str, float]:
        b, v = (np.concatenate([rows[n].ravel() for n in self.output_names]) for rows in (baseline, variant))
        metrics = {"sqnr_db": sqnr_db(b, v), "max_error": float(np.abs(b - v).max())}
        if labels is not None:
            scores = self.output_names[0]
            indices = class_indices(labels, self.labels)
            metrics |= classification_metrics(baseline[scores], variant[scores], indices)
        return metrics

    def examples(self) -> list[Arrays]:
        return [{name: np.zeros(shape, dtype=np.float32) for name, shape in self.shapes.items()}]

    def answer_schema(self) -> dict[str, Any]:
        return {}  # an array, or arrays by output name, whose shapes only the model knows

    def item_schema(self) -> dict[str, Any]:
        inputs = {name: _array_schema(shape) for name, shape in self.shapes.items()}
        if len(inputs) == 1:
            return next(iter(inputs.values()))
        return {
            "type": "object",
            "properties": inputs,
            "required": list(inputs),
            "additionalProperties": False,
        }


def _array_schema(shape: list[int]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "number"}
    for size in reversed(shape):
        schema = {"type": "array", "items": schema, "minItems": size, "maxItems": size}
    return schema


def _forward_names(module: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [n for n, p in inspect.signature(module.forward).parameters.items() if p.kind in kinds]
    if not names:
        kind = type(module).__name__
        raise QuantbentoError(f"{kind}.forward names no inputs; give its parameters names: forward(self, x)")
    return names


def _output_names(module: Any, shapes: dict[str, list[int]]) -> list[str]:
    """Runs the module once on zeros to see what it returns: a tensor, a tuple, or a mapping."""
    import torch

    from quantbento.tasks.outputs import named_outputs

    zeros = {name: torch.zeros(2, *shape) for name, shape in shapes.items()}
    try:
        with torch.inference_mode():
            result = module(**zeros)
    except Exception as error:
        raise QuantbentoError(f"the model does not run on inputs shaped as the samples {shapes}: {error}") from error
    outputs = named_outputs(result)
    for name, value in outputs.items():
        if value.ndim == 0 or value.shape[0] != 2:
            raise QuantbentoError(f"output {name!r} is not batch first: two samples gave shape {tuple(value.shape)}")
    return list(outputs)


def _onnx_names(path: Path) -> tuple[list[str], list[str]]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {i.name for i in graph.initializer}
    inputs = [i for i in graph.input if i.name not in weights]
    if others := [i.name for i in inputs if i.type.tensor_type.elem_type != onnx.TensorProto.FLOAT]:
        raise QuantbentoError(
            f"{path}: the inputs {one_of(others)} are not float32; task tensor takes float inputs only"
        )
    return [i.name for i in inputs], [o.name for o in graph.output]
