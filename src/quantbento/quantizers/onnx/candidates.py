"""Which nodes of an ONNX graph hold weights that can be quantized, and what to say of those that cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.onnx import graphs

if TYPE_CHECKING:
    import onnx

# Which input of an operator holds its weights.
WEIGHT = {"MatMul": 1, "Gemm": 1, "Conv": 1, "Gather": 0, "LSTM": 1, "Attention": 1, "EmbedLayerNormalization": 2}
QUANTIZABLE = ("MatMul", "Gather", "Conv", "LSTM", "Attention")
IN_ROWS = ("MatMul", "Gather")  # weights must have two dimensions
ANY_FLOAT = ("MatMul", "Gather")  # float16, bfloat16 and float64 too: prepare.py turns their weights into float32
MOST_LISTED = 8
# Graphs with one of these are quantized already.
QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "ConvInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "QAttention",
    "QEmbedLayerNormalization",
    "GatherBlockQuantized",
)


@dataclass(frozen=True)
class Candidates:
    """Names of the nodes that can be quantized, and how many nodes hold weights and cannot, by the reason."""

    names: list[str] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)

    @property
    def notes(self) -> list[str]:
        if not self.left:
            return []
        return ["left in full precision: " + ", ".join(f"{count} {why}" for why, count in self.left.items())]


def find(graph: onnx.GraphProto, ops: Iterable[str]) -> Candidates:
    """The nodes of the operator types `ops` with constant weights."""
    found, ops = Candidates(), set(ops)
    for node, weight in _weighted(graph, "Gemm" if "MatMul" in ops else "", *ops):
        if (reason := _obstacle(node, weight)) is None:
            found.names.append(node.name)
        else:
            found.left[f"{node.op_type} {reason}"] += 1
    if "MatMul" in ops:
        weights = {i.name for i in graph.initializer if len(i.dims) > 1}
        first = sum(n.op_type == "MatMul" and n.input[0] in weights and n.input[1] not in weights for n in graph.node)
        found.left.update({"MatMul whose first operand holds the weights": first} if first else {})
    for op, count in _inside(graph).items():
        found.left[f"{op} inside an If, Loop or Scan"] = count
    return found


def operators(graph: onnx.GraphProto) -> Counter[str]:
    """How many nodes of each operator type there are, the most frequent first; those inside other nodes count too."""
    return Counter(dict(Counter(node.op_type for inner in graphs(graph) for node in inner.node).most_common()))


def parameters(graph: onnx.GraphProto) -> int:
    """The number of float weights, those in `Constant` nodes too."""
    floats, count = _floats(), 0
    for inner in graphs(graph):
        constants = [a.t for node in inner.node if node.op_type == "Constant" for a in node.attribute]
        count += sum(prod(i.dims) for i in [*inner.initializer, *constants] if i.data_type in floats)
    return count


def weight_counts(graph: onnx.GraphProto) -> dict[str, int]:
    """How many weights each node with constant float weights has, by the node's name."""
    return {node.name: prod(weight.dims) for node, weight in _weighted(graph, *WEIGHT)}


def not_asked_for(graph: onnx.GraphProto, ops: Collection[str]) -> list[str]:
    """Says which nodes with weights are of other types than `ops`, and how to ask for them."""
    nodes = [node for node, _ in _weighted(graph, *QUANTIZABLE)]
    other = [node for node in nodes if node.op_type not in ops]
    if not other:
        return []
    read, floats = {name for node in other for name in node.input}, _floats()
    held = sum(prod(i.dims) for i in graph.initializer if i.name in read and i.data_type in floats)
    counts = Counter(node.op_type for node in other)
    scales = "" if set(counts) <= set(IN_ROWS) else "activations: per_tensor and "
    slower = "; convolutions get slower and less exact" * ("Conv" in counts)
    return [
        f"{listed(counts)} with {held / parameters(graph):.0%} of the weights can be asked for: "
        f"{scales}include_ops: [{', '.join(sorted({node.op_type for node in nodes}))}]{slower}"
    ]


def refuse_quantized(graph: onnx.GraphProto) -> None:
    """
    Raises:
        QuantbentoError: the graph is quantized already.
    """
    if found := {op: count for op, count in operators(graph).items() if op in QUANTIZED}:
        raise QuantbentoError(
            f"the graph is quantized already (it has {listed(found)}); name the full-precision model it was made from"
        )


def nothing(quantizer: str, graph: onnx.GraphProto, ops: Collection[str], left: Candidates) -> QuantbentoError:
    """Says that there is nothing to quantize, what there is, and what could be asked for."""
    reason = f"{quantizer} would quantize nothing: the graph has no {', '.join(ops)} with constant weights"
    has = f"(it has {listed(operators(graph), MOST_LISTED)})"
    return QuantbentoError("; ".join([f"{reason} {has}", *left.notes, *not_asked_for(graph, ops)]))


def listed(counts: dict[str, int], most: int | None = None) -> str:
    """`57 Conv, 20 Relu, 12 others`; the first `most` of them by name."""
    names = list(counts)[:most]
    told = [f"{counts[name]} {name}" for name in names]
    rest = sum(counts.values()) - sum(counts[name] for name in names)
    return ", ".join(told + [f"{rest} others"] * (rest > 0)) or "no operators"


def _weighted(graph: onnx.GraphProto, *ops: str) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """The nodes of these types whose weights are constant floats, with the weights."""
    weights, floats = {i.name: i for i in graph.initializer}, _floats()
    for node in graph.node:
        place = WEIGHT.get(node.op_type)
        if node.op_type in ops and place is not None and place < len(node.input):
            weight = weights.get(node.input[place])
            if weight is not None and weight.data_type in floats and prod(weight.dims):
                yield node, weight


def _obstacle(node: onnx.NodeProto, weight: onnx.TensorProto) -> str | None:
    """Why a node with weights cannot be quantized."""
    from onnx import TensorProto

    if node.op_type == "Gemm":  # what could be written as MatMul and Add is, by now
        return "with alpha, beta or transA"
    if node.op_type in IN_ROWS and len(weight.dims) != 2:
        return f"with weights of {len(weight.dims)} dimensions"
    if node.op_type == "Gather" and any(a.name == "axis" and a.i != 0 for a in node.attribute):
        return "along another axis than the rows"
    if weight.data_type != TensorProto.FLOAT and node.op_type not in ANY_FLOAT:
        return f"in {TensorProto.DataType.Name(weight.data_type).lower()}"
    return None


def _inside(graph: onnx.GraphProto) -> Counter[str]:
    """How many nodes with weights there are in the branches of an If and the bodies of loops, where nothing is
    quantized."""
    found, floats, outer = Counter[str](), _floats(), {i.name: i for i in graph.initializer}
    everything = graphs(graph)
    next(everything)
    for inner in everything:
        weights = outer | {i.name: i for i in inner.initializer}
        for node in inner.node:
            place = WEIGHT.get(node.op_type, len(node.input))
            weight = weights.get(node.input[place]) if place < len(node.input) else None
            found[node.op_type] += weight is not None and weight.data_type in floats
    return +found


def _floats() -> set[int]:
    from onnx import TensorProto

    return {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
