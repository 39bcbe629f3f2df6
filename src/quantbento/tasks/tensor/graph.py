"""What an ONNX file says about its inputs and outputs, and what they look like when it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, one_of, summary
from quantbento.tasks.base import Arrays
from quantbento.tasks.source import SampleSet
from quantbento.tasks.tensor.inputs import Input
from quantbento.tasks.tensor.layout import Layout, look
from quantbento.tasks.tensor.learned import Dims, arrays_of, learned
from quantbento.tasks.tensor.options import TensorOptions
from quantbento.tasks.tensor.values import DTYPES

TEXT = "text"


@dataclass(frozen=True)
class Graph:
    """
    Attributes:
        inputs: by name, NumPy's name of the type, and the axes; None where the graph does not say how many.
        outputs: the names of those that are arrays of numbers.
        left_out: by name of the others, what they are.
    """

    inputs: dict[str, tuple[str, Dims | None]]
    outputs: list[str]
    left_out: dict[str, str]


def understand(path: Path, options: TensorOptions, samples: SampleSet) -> tuple[list[Input], Layout]:
    """What the graph takes, and where the batch is in what it gives.

    Raises:
        QuantbentoError: it is no graph of arrays, cannot run here, or does not take the samples.
    """
    graph = read(path)
    given = arrays_of(samples.inputs, list(graph.inputs), every=True)
    inputs, fixed = [], set()
    for name, (dtype, dims) in graph.inputs.items():
        if options.dtypes.get(name, dtype) != dtype:
            raise QuantbentoError(f"task_options.dtypes: {name!r} takes {dtype}, as the graph says")
        inputs.append(found := learned(name, dtype, dims, given[name], options))
        if dims is not None and found.batch_axis is not None and isinstance(size := dims[found.batch_axis], int):
            fixed.add(size)
    if len(fixed) > 1:
        raise QuantbentoError(
            f"{path}: the graph fixes batches of different sizes, {one_of(map(str, sorted(fixed)))}. "
            "For an input that has no batch set task_options: {batch_axis: {<input>: null}}"
        )
    item = {i.name: i.check(given[i.name][0]) for i in inputs}
    layout = look(_runner(path, graph.outputs), inputs, item, max(fixed, default=None), options.output_batch_axis)
    layout.notes.extend(f"the output {name!r} is left out: it is {kind}" for name, kind in graph.left_out.items())
    return inputs, layout


def read(path: Path) -> Graph:
    """
    Raises:
        QuantbentoError: it is no ONNX file, or takes or gives something else than numbers.
    """
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's errors share no base class
        raise QuantbentoError(f"{path} is not an ONNX file: {summary(error)}") from None
    weights = {initializer.name for initializer in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if other := {value.name: kind for value in inputs if (kind := _kind(value)) not in DTYPES}:
        told = ", ".join(f"{name!r} takes {kind}" for name, kind in other.items())
        hint = ". Text is made numbers by a tokenizer or a vectorizer: export the part behind it"
        raise QuantbentoError(
            f"{path}: the input {told}; task tensor takes arrays of {one_of(DTYPES)}{hint * (TEXT in other.values())}"
        )
    left_out = {value.name: kind for value in graph.output if (kind := _kind(value)) not in DTYPES}
    outputs = [value.name for value in graph.output if value.name not in left_out]
    if not inputs or not outputs:
        lacking = "gives no array of numbers" if inputs else "takes no inputs"
        raise QuantbentoError(f"{path} {lacking}; task tensor needs a graph that makes arrays of arrays")
    return Graph({value.name: (_kind(value), _dims(value)) for value in inputs}, outputs, left_out)


def _runner(path: Path, outputs: list[str]) -> Callable[[Arrays], dict[str, tuple[int, ...]]]:
    """A function that gives the shapes of the outputs for a batch.

    Raises:
        QuantbentoError: ONNX Runtime cannot load the file.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is raised, and said there
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise QuantbentoError(f"ONNX Runtime cannot load {path}: {summary(error)}") from error
    return lambda batch: {name: value.shape for name, value in zip(outputs, session.run(outputs, batch), strict=True)}


def _kind(value: Any) -> str:
    """NumPy's name of an array's type; for anything else a description: "a sequence", "text"."""
    import onnx

    if (which := value.type.WhichOneof("value")) != "tensor_type":
        return f"a {(which or 'value of no type').removesuffix('_type').replace('_', ' ')}"
    number = value.type.tensor_type.elem_type
    if number == onnx.TensorProto.STRING:
        return TEXT
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        return "a value of no type"


def _dims(value: Any) -> Dims | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    # Some exporters write -1 for an axis of any size.
    return [dim.dim_value if dim.dim_value > 0 else dim.dim_param for dim in kind.shape.dim]
