"""What a graph holds is counted in the graph itself."""

import numpy as np
import onnx
import pytest
from onnx import helper

from quantbento.quantizers.openvino import graph
from quantbento.quantizers.openvino.graph import PRODUCT, QuantizedOperator
from quantbento.runtimes.openvino import read_onnx
from tests.jobs import numbers, onnx_file


def of(path, nodes, inputs, outputs, weights):
    return read_onnx(onnx_file(path / "a.onnx", nodes, inputs, outputs, weights))


def test_attention_is_seen(encoder, network):
    assert graph.has_attention(read_onnx(encoder.onnx()))
    assert not graph.has_attention(read_onnx(network.onnx()))


@pytest.mark.parametrize(("right", "found"), [("other", True), ("w", False)], ids=["activations", "weights"])
def test_a_softmax_is_attention_beside_a_product_of_activations_only(tmp_path, right, found):
    nodes = [("Softmax", ["x"], ["p"]), ("MatMul", ["p", right], ["y"])]
    shapes = {"x": ["batch", 4, 4], "other": ["batch", 4, 4]}
    model = of(tmp_path, nodes, shapes, {"y": ["batch", 4, 4]}, {"w": numbers(4, 4)})
    assert graph.has_attention(model) is found


def test_operators_and_float_weights_are_listed(tmp_path):
    nodes = [("MatMul", ["x", "w"], ["p"]), ("Gather", ["p", "third"], ["y"])]
    weights = {"w": numbers(8, 4), "third": np.int64([2])}
    model = of(tmp_path, nodes, {"x": ["batch", 8]}, {"y": [1, 4]}, weights)
    assert graph.operators(model) == {"MatMul_p": "MatMul", "y": "Gather"} or set(graph.operators(model).values()) == {
        "MatMul",
        "Gather",
    }
    assert graph.parameters(model) == 8 * 4
    assert graph.quantized(model) == []


def dequantized(weights):
    """ONNX nodes that make floats of integer weights `w` with a scale a row."""
    scale = np.ones((len(weights), 1), np.float32)
    nodes = [("Cast", ["w"], ["floats"]), ("Mul", ["floats", "scale"], ["weights"])]
    return nodes, {"w": weights, "scale": scale}


def with_casts(path):
    """The graph, its casts to float32."""
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "Cast":
            node.attribute.append(helper.make_attribute("to", onnx.TensorProto.FLOAT))
    onnx.save(model, path)
    return read_onnx(path)


def test_operators_that_share_weights_are_counted_each_and_the_weights_once(tmp_path):
    nodes, held = dequantized(np.ones((8, 8), np.int8))
    nodes += [("MatMul", ["x", "weights"], ["p"]), ("MatMul", ["p", "weights"], ["y"])]
    model = with_casts(onnx_file(tmp_path / "a.onnx", nodes, {"x": ["batch", 8]}, {"y": ["batch", 8]}, held))
    found = graph.quantized(model)
    assert [operator.kind for operator in found] == ["MatMul", "MatMul"]
    assert {operator.bits for operator in found} == {8}
    assert graph.weights(found) == 64


def test_integers_that_were_there_before_are_no_quantized_weights(tmp_path):
    nodes, held = dequantized(np.ones((8, 8), np.int8))
    nodes += [("MatMul", ["x", "weights"], ["y"])]
    model = with_casts(onnx_file(tmp_path / "a.onnx", nodes, {"x": ["batch", 8]}, {"y": ["batch", 8]}, held))
    assert graph.quantized(model, graph.integers(model)) == []


def test_an_operator_has_the_bits_of_its_weights():
    assert QuantizedOperator("a", "MatMul", {"w": (4, 10)}).bits == 4
    assert QuantizedOperator("a", PRODUCT, {}).bits == 8
