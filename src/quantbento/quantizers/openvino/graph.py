"""What a graph of OpenVINO holds: attention, operators to leave out by name, and integers in place of floats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino as ov

INTEGERS = ("i8", "u8", "i4", "u4")
FLOATS = ("f32", "f16", "bf16", "f64")
# Between integer weights and the operator that reads them: back to float, zero point, scale, and the shape of groups.
DEQUANTIZE = ("Convert", "Subtract", "Multiply", "Reshape", "Transpose")
# Between two operators, without a change of the numbers.
SHAPES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "VariadicSplit", "Broadcast", "Concat")


def has_attention(model: ov.Model) -> bool:
    """Whether there is attention: as one operator, or as a Softmax beside a product of two activations."""
    kinds = {node.get_type_name() for node in model.get_ops()}
    if "ScaledDotProductAttention" in kinds:
        return True
    products = (node for node in model.get_ops() if node.get_type_name() == "MatMul")
    return "Softmax" in kinds and any(not any(_constant(value) for value in node.input_values()) for node in products)


def operators(model: ov.Model) -> dict[str, str]:
    """Type of each operator by its name; constants are none."""
    kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
    return {name: kind for name, kind in kinds.items() if kind != "Constant"}


def parameters(model: ov.Model) -> int:
    """How many float constants there are."""
    return sum(prod(node.shape) for node in model.get_ops() if _is_constant_of(node, FLOATS))


def quantized(model: ov.Model) -> tuple[dict[str, int], int]:
    """What is quantized in a graph: operators that read integer weights, by type, and products of two quantized
    activations; and how many integer weights there are."""
    counts, weights = Counter[str](), dict[str, int]()
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind in DEQUANTIZE:
            continue
        sources = [_integer_weights(value) for value in node.input_values()]
        for source in filter(None, sources):
            counts[kind] += 1
            weights[source.get_friendly_name()] = prod(source.shape)
        if kind == "MatMul" and not any(sources) and all(map(_quantized_activation, node.input_values())):
            counts["MatMul of activations"] += 1
    return dict(counts), sum(weights.values())


def _is_constant_of(node: ov.Node, types: Iterable[str]) -> bool:
    return node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in types


def _constant(value: ov.Output) -> bool:
    """Whether a value is a constant, perhaps of another type or shape in the file."""
    node = value.get_node()
    while node.get_type_name() in DEQUANTIZE:
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant"


def _integer_weights(value: ov.Output) -> ov.Node | None:
    node = value.get_node()
    while node.get_type_name() in DEQUANTIZE:
        node = node.input_value(0).get_node()
    return node if _is_constant_of(node, INTEGERS) else None


def _quantized_activation(value: ov.Output) -> bool:
    node = value.get_node()
    while node.get_type_name() in SHAPES:
        node = node.input_value(0).get_node()
    return node.get_type_name() == "FakeQuantize"
