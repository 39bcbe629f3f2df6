"""Nodes with constant weights are found, and what cannot be quantized is counted and said."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.onnx.candidates import find, not_asked_for, nothing, operators, parameters, refuse_quantized
from quantbento.quantizers.onnx.prepare import prepared
from tests.jobs import numbers

WEIGHTS = {
    "w": numbers(8, 4),
    "square": numbers(8, 8),
    "heads": numbers(2, 8, 4),
    "empty": np.zeros((8, 0), np.float32),
    "half": numbers(8, 4).astype(np.float16),
    "table": numbers(20, 8),
    "bytes": np.ones((8, 4), np.uint8),
    "kernel": numbers(16, 8, 3),
}
OPS = ("MatMul", "Gather")


def graph(*nodes):
    """Nodes are (operator, inputs, attributes); the weights above are initializers where they are read."""
    made = [
        helper.make_node(op, names, [f"out{i}"], name=f"{op}{i}", **attributes)
        for i, (op, names, attributes) in enumerate(nodes)
    ]
    read = {name for _, names, _ in nodes for name in names}
    weights = [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items() if name in read]
    return helper.make_graph(made, "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)], [], weights)


def branches(*nodes):
    """An If with the nodes in one branch."""
    inner = graph(*nodes)
    other = helper.make_graph([], "other", [], [])
    outer = helper.make_graph(
        [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=other)], "graph", [], []
    )
    outer.initializer.extend(inner.initializer)
    del branch(outer).initializer[:]
    return outer


def branch(outer):
    return next(a.g for a in outer.node[0].attribute if a.name == "then_branch")


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "left"),
    [
        ("MatMul", ["x", "w"], {}, None),
        ("MatMul", ["x", "half"], {}, None),
        ("Gather", ["table", "x"], {}, None),
        ("MatMul", ["x", "heads"], {}, "MatMul with weights of 3 dimensions"),
        ("MatMul", ["square", "x"], {}, "MatMul whose first operand holds the weights"),
        ("Gemm", ["x", "w"], {"alpha": 0.5}, "Gemm with alpha, beta or transA"),
        ("Gather", ["table", "x"], {"axis": 1}, "Gather along another axis than the rows"),
        ("MatMul", ["x", "x"], {}, ""),
        ("MatMul", ["x", "empty"], {}, ""),
        ("Gather", ["bytes", "x"], {}, ""),
        ("Gather", ["x", "w"], {}, ""),
        ("Add", ["x", "w"], {}, ""),
    ],
)
def test_a_node_with_weights_is_a_candidate_or_left_with_a_reason(op, inputs, attributes, left):
    found = find(graph((op, inputs, attributes)), OPS)
    assert found.names == ([f"{op}0"] if left is None else [])
    assert dict(found.left) == ({left: 1} if left else {})


@pytest.mark.parametrize("op", ["Conv", "LSTM"])
def test_types_that_are_not_asked_for_are_neither(op):
    one = graph((op, ["x", "kernel"], {}))
    assert (find(one, OPS).names, dict(find(one, OPS).left)) == ([], {})
    assert find(one, [op]).names == [f"{op}0"]


def test_a_convolution_in_16_bit_is_left():
    one = graph(("Conv", ["x", "half"], {}))
    assert dict(find(one, ["Conv"]).left) == {"Conv in float16": 1}


def test_what_is_inside_a_branch_is_counted():
    found = find(branches(("MatMul", ["x", "w"], {}), ("MatMul", ["x", "x"], {}), ("Conv", ["x", "kernel"], {})), OPS)
    assert found.names == []
    assert found.notes == [
        "left in full precision: 1 MatMul inside an If, Loop or Scan, 1 Conv inside an If, Loop or Scan"
    ]


def test_nothing_left_is_no_note():
    assert find(graph(("MatMul", ["x", "w"], {})), OPS).notes == []


def test_operators_and_weights_are_counted_everywhere():
    one = branches(("MatMul", ["x", "w"], {}), ("Relu", ["x"], {}), ("Relu", ["x"], {}))
    assert list(operators(one).items()) == [("Relu", 2), ("If", 1), ("MatMul", 1)]
    assert parameters(one) == 8 * 4
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(numbers(5)))
    shape = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.arange(7)))
    branch(one).node.extend([constant, shape])
    assert parameters(one) == 8 * 4 + 5


@pytest.mark.parametrize(
    ("nodes", "ops", "told"),
    [
        ([("MatMul", ["x", "w"], {})], OPS, []),
        (
            [("MatMul", ["x", "w"], {}), ("Conv", ["x", "kernel"], {}), ("Conv", ["x", "kernel"], {})],
            OPS,
            [
                "2 Conv with 92% of the weights can be asked for: activations: per_tensor and "
                "include_ops: [Conv, MatMul]; convolutions get slower and less exact"
            ],
        ),
        (
            [("MatMul", ["x", "w"], {})],
            ["Gather"],
            ["1 MatMul with 100% of the weights can be asked for: include_ops: [MatMul]"],
        ),
    ],
    ids=["all", "convolutions", "products"],
)
def test_what_can_be_asked_for_is_said(nodes, ops, told):
    assert not_asked_for(graph(*nodes), ops) == told


def test_nothing_to_quantize_says_what_there_is():
    kinds = ["Add", "Add", "Mul", "Neg", "Abs", "Exp", "Log", "Sin", "Cos", "Tan", "Relu"]
    one = graph(*[(kind, ["x"], {}) for kind in kinds], ("MatMul", ["x", "heads"], {}))
    assert str(nothing("onnx-dynamic", one, OPS, find(one, OPS))) == (
        "onnx-dynamic would quantize nothing: the graph has no MatMul, Gather with constant weights (it has 2 Add, "
        "1 Mul, 1 Neg, 1 Abs, 1 Exp, 1 Log, 1 Sin, 1 Cos, 3 others); "
        "left in full precision: 1 MatMul with weights of 3 dimensions"
    )


@pytest.mark.parametrize("op", ["DequantizeLinear", "MatMulInteger", "QLinearConv", "MatMulNBits"])
def test_a_quantized_graph_is_refused(op):
    for one in (graph((op, ["x", "w"], {}), ("MatMul", ["x", "w"], {})), branches((op, ["x", "w"], {}))):
        with pytest.raises(
            QuantbentoError, match=rf"quantized already \(it has 1 {op}\); name the full-precision model"
        ):
            refuse_quantized(one)
    refuse_quantized(graph(("MatMul", ["x", "w"], {})))


def test_gemm_is_found_as_matmul():
    one = graph(("Gemm", ["x", "w"], {}), ("Gemm", ["x", "square"], {"transB": 1, "beta": 2.0}))
    model = prepared(helper.make_model(one, opset_imports=[helper.make_opsetid("", 18)]))
    assert isinstance(model, onnx.ModelProto)
    found = find(model.graph, OPS)
    assert found.names == ["Gemm0_MatMul"]
    assert dict(found.left) == {"Gemm with alpha, beta or transA": 1}
