"""What a LiteRT file holds: operators with integer weights, and those that compute in floats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

# Operators of layers: their constants are what these have learnt.
WEIGHTED = {
    "BATCH_MATMUL",
    "CONV_2D",
    "CONV_3D",
    "DEPTHWISE_CONV_2D",
    "EMBEDDING_LOOKUP",
    "FULLY_CONNECTED",
    "GATHER",
    "TRANSPOSE_CONV",
}
BETWEEN = ("QUANTIZE", "DEQUANTIZE")  # floats and integers: these are no operators of the model


@dataclass(frozen=True)
class Operator:
    """
    Attributes:
        name: that of its first output; operators have none of their own.
        kind: its type, as LiteRT calls it.
        weights: by the buffer they are in, how many integer weights it reads.
        float_weights: whether it is a layer whose weights are floats.
        floats: whether it gives floats.
    """

    name: str
    kind: str
    weights: dict[int, int]
    float_weights: bool
    floats: bool


def operators(path: Path) -> list[Operator]:
    """The operators of a file, without those that only turn floats into integers and back."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    return [found for graph in model.subgraphs for found in _operators(model, graph) if found.kind not in BETWEEN]


def weights(found: list[Operator]) -> int:
    """How many integer weights they have; those that they share are counted once."""
    return sum({buffer: number for operator in found for buffer, number in operator.weights.items()}.values())


def _operators(model: Any, graph: Any) -> Iterator[Operator]:
    types = _names("TensorType")
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = _names("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]
        outputs = [graph.tensors[i] for i in operator.outputs if i >= 0]
        read = [graph.tensors[i] for i in operator.inputs if i >= 0]
        constants = [t for t in read if _is_constant(model, t) and prod(map(int, t.shape)) > 1]
        learnt = constants if kind in WEIGHTED else []
        yield Operator(
            _short(outputs[0].name.decode()),
            kind,
            {t.buffer: prod(map(int, t.shape)) for t in learnt if types[t.type] in ("INT8", "INT4")},
            any(types[t.type] == "FLOAT32" and len(t.shape) > 1 for t in learnt),
            any(types[t.type] == "FLOAT32" for t in outputs),
        )


def _short(name: str) -> str:
    """litert-torch's name of a tensor, the path of the module that gave it, without packages: `Net_model/Linear_head`
    of `Named/mine.Net_model/torch.nn.modules.linear.Linear_head;2`."""
    return "/".join(part.rpartition(".")[2] for part in name.partition(";")[0].split("/")[1:]) or name


def _is_constant(model: Any, tensor: Any) -> bool:
    """Whether a tensor's values are in the file; those of large files lie behind the graph."""
    if tensor.shape is None:
        return False
    buffer = model.buffers[tensor.buffer]
    return (buffer.data is not None and len(buffer.data) > 0) or buffer.offset > 1


@cache
def _names(enumeration: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {number: name for name, number in vars(getattr(schema, enumeration)).items() if not name.startswith("_")}
