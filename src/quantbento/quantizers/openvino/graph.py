"""What a graph of OpenVINO holds: attention, and integers in place of floats."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino as ov

BITS = {"i8": 8, "u8": 8, "i4": 4, "u4": 4}
FLOATS = ("f32", "f16", "bf16", "f64")
# Between integer weights and the operator that reads them: back to float, zero point, scale, and the shape of groups.
DEQUANTIZE = ("Convert", "Subtract", "Multiply", "Reshape", "Transpose")
# Between two operators, without a change of the numbers.
SHAPES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "VariadicSplit", "Broadcast", "Concat")
NO_OPERATORS = ("Constant", "Parameter", "Result")
PRODUCT = "MatMul of activations"


@dataclass(frozen=True)
class QuantizedOperator:
    """An operator that reads integer weights, or multiplies two quantized activations.

    Attributes:
        name: as the graph calls it.
        kind: its type; `PRODUCT` without weights.
        weights: bits and number of its weights, by the constant's name.
    """

    name: str
    kind: str
    weights: dict[str, tuple[int, int]]

    @property
    def bits(self) -> int:
        return min((bits for bits, _ in self.weights.values()), default=8)


def has_attention(model: ov.Model) -> bool:
    """Whether there is attention: as one operator, or as a Softmax beside a product of two activations."""
    kinds = {node.get_type_name() for node in model.get_ops()}
    if "ScaledDotProductAttention" in kinds:
        return True
    products = (node for node in model.get_ops() if node.get_type_name() == "MatMul")
    return "Softmax" in kinds and any(not any(_constant(value) for value in node.input_values()) for node in products)


def operators(model: ov.Model) -> dict[str, str]:
    """Type of each operator by its name, in the order in which they are computed."""
    kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ordered_ops()}
    return {name: kind for name, kind in kinds.items() if kind not in NO_OPERATORS}


def parameters(model: ov.Model) -> int:
    """How many float constants there are."""
    return sum(prod(node.shape) for node in model.get_ops() if _is_constant_of(node, FLOATS))


def integers(model: ov.Model) -> set[str]:
    """Names of the constants that are small integers."""
    return {node.get_friendly_name() for node in model.get_ops() if _is_constant_of(node, BITS)}


def quantized(model: ov.Model, before: Collection[str] = ()) -> list[QuantizedOperator]:
    """The quantized operators of a graph.

    Args:
        before: names of integer constants that the graph had in full precision already.
    """
    return list(_quantized(model, before))


def rounded(model: ov.Model) -> list[str]:
    """Names of the operators that read quantized activations, also of those that are not computed in integers, such as
    sums: what they read is rounded."""
    nodes = [node for node in model.get_ops() if node.get_type_name() not in ("FakeQuantize", *SHAPES)]
    return [node.get_friendly_name() for node in nodes if any(map(_quantized_activation, node.input_values()))]


def weights(operators: Iterable[QuantizedOperator]) -> int:
    """How many integer weights some operators have; those that they share are counted once."""
    return sum(number for _, number in {k: v for found in operators for k, v in found.weights.items()}.values())


def _quantized(model: ov.Model, before: Collection[str]) -> Iterator[QuantizedOperator]:
    for node in model.get_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        if kind in DEQUANTIZE:
            continue
        constants = [source for value in node.input_values() if (source := _integer_weights(value, before))]
        if constants:
            yield QuantizedOperator(name, kind, {c.get_friendly_name(): _size(c) for c in constants})
        elif kind == "MatMul" and all(map(_quantized_activation, node.input_values())):
            yield QuantizedOperator(name, PRODUCT, {})


def _size(constant: ov.Node) -> tuple[int, int]:
    """Bits and number of its integers."""
    return BITS[constant.get_element_type().get_type_name()], prod(constant.shape)


def _is_constant_of(node: ov.Node, types: Collection[str]) -> bool:
    return node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in types


def _constant(value: ov.Output) -> bool:
    """Whether a value is a constant, perhaps of another type or shape in the file."""
    return _source(value, DEQUANTIZE).get_type_name() == "Constant"


def _integer_weights(value: ov.Output, before: Collection[str]) -> ov.Node | None:
    node = _source(value, DEQUANTIZE)
    return node if _is_constant_of(node, BITS) and node.get_friendly_name() not in before else None


def _quantized_activation(value: ov.Output) -> bool:
    return _source(value, SHAPES).get_type_name() == "FakeQuantize"


def _source(value: ov.Output, between: Collection[str]) -> ov.Node:
    """The operator that a value comes from, through operators of the types `between`."""
    node = value.get_node()
    while node.get_type_name() in between:
        node = node.input_value(0).get_node()
    return node
