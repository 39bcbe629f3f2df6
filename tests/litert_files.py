"""Small .tflite files, written by hand: tests need no converter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KINDS = {"float32": "FLOAT32", "int8": "INT8", "int32": "INT32"}


@dataclass(frozen=True)
class Tensor:
    """`shape` of what is computed, or the `value` of a constant; `scale` and `zero` where its integers stand for
    floats."""

    name: str
    kind: str = "float32"
    shape: tuple[int, ...] = ()
    value: np.ndarray | None = None
    scale: float | None = None
    zero: int = 0


def write(
    path: Path,
    tensors: Sequence[Tensor],
    operators: Sequence[tuple[str, list[str], list[str]]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Path:
    """Writes a file whose outputs are called output_0, output_1, ... An operator is (type, inputs, outputs)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    index = {tensor.name: i for i, tensor in enumerate(tensors)}
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    graph.tensors = [_tensor(schema, model, tensor) for tensor in tensors]
    graph.inputs, graph.outputs = [index[n] for n in inputs], [index[n] for n in outputs]
    model.operatorCodes, graph.operators = [], []
    for i, (kind, read, made) in enumerate(operators):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 4 if kind == "FULLY_CONNECTED" else 2
        model.operatorCodes.append(code)
        operator.opcodeIndex = i
        operator.inputs, operator.outputs = [index[n] for n in read], [index[n] for n in made]
        if kind == "FULLY_CONNECTED":
            operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
            operator.builtinOptions = schema.FullyConnectedOptionsT()
        elif kind == "ADD":
            operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
            operator.builtinOptions = schema.AddOptionsT()
        graph.operators.append(operator)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_named(schema, name, index[name]) for name in inputs]
    signature.outputs = [_named(schema, f"output_{i}", index[name]) for i, name in enumerate(outputs)]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(builder.Output())
    return path


def linear(path: Path, weights: np.ndarray) -> Path:
    """`product` = weights x, `sum` = weights x + y, for one item."""
    out, inside = weights.shape
    tensors = [
        Tensor("x", shape=(1, inside)),
        Tensor("y", shape=(1, out)),
        Tensor("w", value=weights),
        Tensor("Named/mine.Net_model/torch.nn.modules.linear.Linear_head;1", shape=(1, out)),
        Tensor("sum", shape=(1, out)),
    ]
    product = tensors[3].name
    operators = [("FULLY_CONNECTED", ["x", "w"], [product]), ("ADD", [product, "y"], ["sum"])]
    return write(path, tensors, operators, ["x", "y"], [product, "sum"])


def linear_int8(path: Path, weights: np.ndarray, x: tuple[float, int], y: tuple[float, int]) -> Path:
    """`weights x` in integers; `x` and `y` are the scale and zero point of what it takes and gives."""
    out, inside = weights.shape
    scale = float(np.abs(weights).max() / 127)
    tensors = [
        Tensor("x", "int8", (1, inside), None, *x),
        Tensor("w", "int8", (), np.round(weights / scale).astype(np.int8), scale),
        Tensor("b", "int32", (), np.zeros(out, np.int32), x[0] * scale),
        Tensor("y", "int8", (1, out), None, *y),
    ]
    return write(path, tensors, [("FULLY_CONNECTED", ["x", "w", "b"], ["y"])], ["x"], ["y"])


def _tensor(schema, model, tensor: Tensor):
    made, value = schema.TensorT(), tensor.value
    made.name, made.buffer = tensor.name.encode(), 0
    made.shape = list(tensor.shape if value is None else value.shape)
    made.type = getattr(schema.TensorType, KINDS[str(value.dtype) if value is not None else tensor.kind])
    if value is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        model.buffers.append(buffer)
        made.buffer = len(model.buffers) - 1
    if tensor.scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [tensor.scale], [tensor.zero]
    return made


def _named(schema, name: str, tensor: int):
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), tensor
    return made
