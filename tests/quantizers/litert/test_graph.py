"""What is in integers, read from files written by hand."""

import numpy as np

from quantbento.quantizers.litert import graph
from quantbento.quantizers.litert.graph import Operator
from tests import litert_files
from tests.jobs import numbers
from tests.litert_files import Tensor


def test_a_layer_in_floats_is_named_by_its_module(tmp_path):
    path = litert_files.linear(tmp_path / "a.tflite", numbers(4, 8))
    linear = Operator("Net_model/Linear_head", "FULLY_CONNECTED", {}, float_weights=True, floats=True)
    assert graph.operators(path) == [linear, Operator("sum", "ADD", {}, float_weights=False, floats=True)]


def test_a_layer_in_integers_is_counted_by_its_weights(tmp_path):
    path = litert_files.linear_int8(tmp_path / "a.tflite", numbers(4, 8), x=(0.1, 0), y=(0.1, 0))
    [found] = graph.operators(path)
    assert (found.kind, list(found.weights.values())) == ("FULLY_CONNECTED", [32])  # its bias is no weight
    assert not found.float_weights and not found.floats
    assert graph.weights([found]) == 32


def test_weights_that_two_layers_share_are_counted_once(tmp_path):
    weights = Tensor("w", "int8", (), np.ones((4, 4), np.int8), 0.1)
    tensors = [weights, *(Tensor(name, shape=(1, 4)) for name in ("x", "y", "z"))]
    operators = [("FULLY_CONNECTED", ["x", "w"], ["y"]), ("FULLY_CONNECTED", ["y", "w"], ["z"])]
    found = graph.operators(litert_files.write(tmp_path / "a.tflite", tensors, operators, ["x"], ["z"]))
    assert [sum(operator.weights.values()) for operator in found] == [16, 16]
    assert graph.weights(found) == 16


def test_constants_of_other_operators_are_no_weights(tmp_path):
    tensors = [Tensor("x", "int8", (1, 4), None, 0.1), Tensor("c", "int8", (), np.ones((1, 4), np.int8), 0.1)]
    tensors += [Tensor("y", "int8", (1, 4), None, 0.1)]
    path = litert_files.write(tmp_path / "a.tflite", tensors, [("ADD", ["x", "c"], ["y"])], ["x"], ["y"])
    assert graph.operators(path) == [Operator("y", "ADD", {}, float_weights=False, floats=False)]


def test_steps_between_floats_and_integers_are_no_operators_of_the_model(tmp_path):
    tensors = [Tensor("x", shape=(1, 4)), Tensor("q", "int8", (1, 4), None, 0.1), Tensor("y", shape=(1, 4))]
    operators = [("QUANTIZE", ["x"], ["q"]), ("DEQUANTIZE", ["q"], ["y"])]
    assert graph.operators(litert_files.write(tmp_path / "a.tflite", tensors, operators, ["x"], ["y"])) == []
