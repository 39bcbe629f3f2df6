"""A graph that was prepared computes what it did before."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantbento.quantizers.onnx.prepare import in_float32, prepared, remove_unread
from tests.jobs import numbers

W = numbers(8, 4)


def model_of(nodes, weights, outputs, kind=TensorProto.FLOAT, x="x"):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(x, kind, None)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(model, **inputs):
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)


def kinds(graph):
    return [node.op_type for node in graph.node]


def test_gemms_that_share_a_weight_in_both_directions_stay_right():
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"]),
        helper.make_node("Gemm", ["y", "w", "b"], ["z"], transB=1),
        helper.make_node("Gemm", ["z", "w"], ["v"], transB=1),
    ]
    model = model_of(nodes, {"w": numbers(8, 8), "b": numbers(8, seed=1)}, ["v"])
    expected = run(model, x=numbers(3, 8))
    after = prepared(model)
    assert set(kinds(after.graph)) == {"MatMul", "Add"}
    assert len({node.name for node in after.graph.node}) == 5
    np.testing.assert_allclose(run(after, x=numbers(3, 8))[0], expected[0], rtol=1e-5)


def test_gemms_in_both_branches_that_share_a_weight_stay_right():
    def branch(name, nodes):
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)])

    then = branch("then", [helper.make_node("Gemm", ["x", "w"], ["then_y"], transB=1)])
    other = branch(
        "other",
        [
            helper.make_node("Gemm", ["x", "w"], ["once"], transB=1),
            helper.make_node("Gemm", ["once", "w"], ["other_y"], transB=1),
        ],
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
        helper.make_node("Gemm", ["y", "w"], ["z"]),
    ]
    model = model_of(nodes, {"w": numbers(8, 8), "zero": np.zeros((), np.float32)}, ["z"])
    batches = [np.abs(numbers(3, 8)), -np.abs(numbers(3, 8))]
    expected = [run(model, x=x)[0] for x in batches]
    after = prepared(model)
    for x, wanted in zip(batches, expected, strict=True):
        np.testing.assert_allclose(run(after, x=x)[0], wanted, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64], ids=["float16", "float64"])
def test_other_floats_compute_in_float32(dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="first"),
        helper.make_node("MatMul", ["x", "w"], ["z"], name="second"),
        helper.make_node("MatMul", ["x", "v"], ["u"], name="third"),
    ]
    model = model_of(nodes, {"w": W.astype(dtype), "v": W.astype(dtype)}, ["y", "z", "u"], kind)
    x = numbers(3, 8, seed=1).astype(dtype)
    expected = run(model, x=x)
    in_float32(model.graph, ["first", "second"])
    assert kinds(model.graph) == ["Cast", "MatMul", "Cast", "MatMul", "Cast", "MatMul"]
    assert {i.name: numpy_helper.to_array(i).dtype for i in model.graph.initializer} == {
        "w_float32": np.float32,
        "v": dtype,
    }
    for got, wanted in zip(run(model, x=x), expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-2)


def test_float32_is_left_as_it_is():
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], name="first")], {"w": W}, ["y"])
    before = model.SerializeToString()
    in_float32(model.graph, ["first"])
    assert model.SerializeToString() == before


def test_a_look_up_in_16_bit_gives_16_bit():
    node = helper.make_node("Gather", ["table", "ids"], ["y"], name="rows")
    model = model_of([node], {"table": W.astype(np.float16)}, ["y"], TensorProto.INT64, "ids")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    in_float32(model.graph, ["rows"])
    [got] = run(model, ids=np.array([3, 1]))
    np.testing.assert_array_equal(got, W.astype(np.float16)[[3, 1]])


def test_weights_that_only_a_branch_or_an_output_reads_are_kept():
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["x", "inside"], ["inner_y"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner_y", TensorProto.FLOAT, None)],
    )
    nodes = [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)]
    model = model_of(nodes, {"inside": W, "given": W, "unread": W}, ["y", "given"])
    remove_unread(model.graph)
    assert [i.name for i in model.graph.initializer] == ["inside", "given"]
