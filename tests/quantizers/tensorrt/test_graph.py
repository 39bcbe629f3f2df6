"""What has few bits, read from graphs written by hand as Model Optimizer writes them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantbento.quantizers.tensorrt.graph import Layer, layers

ZERO = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}


def graph(path, nodes, weights):
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", TensorProto.FLOAT16, ["n", 4])], [value("y", TensorProto.FLOAT16, None)]
    made = helper.make_graph(
        [helper.make_node(op, given, out, name=out[0]) for op, given, out in nodes], "g", inputs, outputs, weights
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def tensor(name, *shape, dtype=np.float16):
    return numpy_helper.from_array(np.ones(shape, dtype), name)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_weights_behind_scales_are_low_and_others_are_not(tmp_path, precision):
    zero = helper.make_tensor("zero", ZERO[precision], [], [0])
    nodes = [
        ("QuantizeLinear", ["w", "scale", "zero"], ["q"]),
        ("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        ("MatMul", ["x", "dq"], ["a"]),
        ("MatMul", ["a", "v"], ["b"]),
        ("Add", ["b", "bias"], ["y"]),
    ]
    weights = [tensor("w", 4, 6), tensor("v", 6, 2), tensor("bias", 2), tensor("scale"), zero]
    found = layers(graph(tmp_path / "m.onnx", nodes, weights), precision)
    assert found == [Layer("a", "MatMul", "w", 24, True), Layer("b", "MatMul", "v", 12, False)]
    other = "int8" if precision == "fp8" else "fp8"
    assert not any(layer.low for layer in layers(tmp_path / "m.onnx", other))


def test_integers_in_the_file_count_too(tmp_path):
    nodes = [("DequantizeLinear", ["w", "scale"], ["dq"]), ("Transpose", ["dq"], ["t"]), ("MatMul", ["x", "t"], ["y"])]
    weights = [tensor("w", 6, 4, dtype=np.int8), tensor("scale")]
    assert layers(graph(tmp_path / "m.onnx", nodes, weights), "int8") == [Layer("y", "MatMul", "w", 24, True)]


def test_tables_are_for_float16_only(tmp_path):
    nodes = [("Gather", ["table", "x"], ["g"]), ("Gemm", ["g", "w"], ["y"])]
    weights = [tensor("table", 9, 4), tensor("w", 4, 2, dtype=np.float32)]
    path = graph(tmp_path / "m.onnx", nodes, weights)
    assert layers(path, "fp16") == [Layer("g", "Gather", "table", 36, True), Layer("y", "Gemm", "w", 8, False)]
    assert layers(path, "int8") == [Layer("y", "Gemm", "w", 8, False)]


def test_products_of_two_inputs_have_no_weights(tmp_path):
    assert layers(graph(tmp_path / "m.onnx", [("MatMul", ["x", "x"], ["y"])], []), "int8") == []
