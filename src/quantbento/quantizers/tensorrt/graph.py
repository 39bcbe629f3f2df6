"""What Model Optimizer made of a graph: nodes with weights in few bits, and those that were left as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from quantbento.quantizers.onnx.candidates import WEIGHT
from quantbento.runtimes.onnx import graphs

if TYPE_CHECKING:
    import onnx

PLACES = WEIGHT | {"ConvTranspose": 1}  # which input of an operator holds its weights
TABLES = ("Gather", "EmbedLayerNormalization")  # looked up, not computed with: nothing quantizes them to 8 bits
BETWEEN = ("QuantizeLinear", "DequantizeLinear", "Cast", "Transpose")  # compute nothing of their own
TYPES = {"int8": "INT8", "fp8": "FLOAT8E4M3FN", "fp16": "FLOAT16"}  # as ONNX calls them


@dataclass(frozen=True)
class Layer:
    """A node with constant weights.

    Attributes:
        node: its name.
        kind: its operator type.
        weights: the name of its weights.
        count: how many it has.
        low: whether they are in the precision that was asked for.
    """

    node: str
    kind: str
    weights: str
    count: int
    low: bool


def layers(path: Path, precision: str) -> list[Layer]:
    """The nodes with constant weights in a file, from matrices up, that the precision is for."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return [layer for inner in graphs(graph) for layer in _layers(inner, precision)]


def _layers(graph: onnx.GraphProto, precision: str) -> Iterator[Layer]:
    from onnx import TensorProto

    held, made = {i.name: i for i in graph.initializer}, {name: node for node in graph.node for name in node.output}
    wanted = TensorProto.DataType.Value(TYPES[precision])
    for node in graph.node:
        place = PLACES.get(node.op_type, len(node.input))
        if place >= len(node.input) or (node.op_type in TABLES and precision != "fp16"):
            continue
        name, types = node.input[place], set[int]()
        while name in made and made[name].op_type in BETWEEN:
            step = made[name]
            # Their zero points have the type of what is quantized; the weights stay floats until an engine is built.
            types |= {held[given].data_type for given in step.input[2:] if given in held}
            name = step.input[0]
        if name not in held or len(held[name].dims) < 2:
            continue
        types.add(held[name].data_type)
        yield Layer(node.name, node.op_type, name, prod(held[name].dims), wanted in types)
