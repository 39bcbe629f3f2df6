"""Each row is quantized with its own scale, as the formula says, and nothing else in the graph changes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from quantbento.quantizers.onnx.per_token import quantize
from quantbento.tasks.metrics import sqnr_db
from tests.jobs import numbers, onnx_file

WEIGHTS = {"w": numbers(8, 4, seed=1), "v": numbers(8, 4, seed=2), "table": numbers(20, 8, seed=3)}


@pytest.fixture
def graph(tmp_path):
    """Builds a graph that may use the weights above."""

    def build(nodes, inputs, outputs):
        return onnx.load(onnx_file(tmp_path / "graph.onnx", nodes, inputs, outputs, WEIGHTS))

    return build


def products(graph, rank=2):
    shape = ["batch", *["steps"] * (rank - 2)]
    return graph(
        [("MatMul", ["x", "w"], ["y"]), ("MatMul", ["x", "v"], ["z"])],
        {"x": [*shape, 8]},
        {"y": [*shape, 4], "z": [*shape, 4]},
    )


def run(model, **inputs):
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def by_formula(x, weight, per_channel=True, largest=127):
    s = np.maximum(np.abs(x).max(-1, keepdims=True) / 127, 1e-12)
    s_w = np.abs(weight).max(0 if per_channel else None) / largest
    return s * (np.clip(np.round(x / s), -128, 127) @ np.round(weight / s_w)) * s_w


@pytest.mark.parametrize("per_channel", [True, False], ids=["per-channel", "per-tensor"])
@pytest.mark.parametrize("reduce_range", [False, True], ids=["8-bit", "7-bit"])
def test_products_follow_the_formula(graph, per_channel, reduce_range):
    model = quantize(products(graph), ["MatMul_y", "MatMul_z"], per_channel, reduce_range)
    x = numbers(6, 8) * np.logspace(-3, 3, 6, dtype=np.float32)[:, None]
    for found, name in zip(run(model, x=x), "wv", strict=True):
        expected = by_formula(x, WEIGHTS[name], per_channel, 63 if reduce_range else 127)
        size = np.abs(expected).max(1, keepdims=True)
        np.testing.assert_allclose(found / size, expected / size, atol=1e-5)


def test_small_rows_beside_large_ones_keep_their_precision(graph):
    x = numbers(6, 8) * np.logspace(-3, 3, 6, dtype=np.float32)[:, None]
    found = run(quantize(products(graph), ["MatMul_y", "MatMul_z"], True, False), x=x)[0]
    assert all(sqnr_db(row @ WEIGHTS["w"], answer) > 25 for row, answer in zip(x, found, strict=True))


def test_a_row_of_zeros_gives_zeros(graph):
    x = np.concatenate([np.zeros((1, 8), dtype=np.float32), numbers(1, 8)])
    found = run(quantize(products(graph), ["MatMul_y", "MatMul_z"], True, False), x=x)[0]
    np.testing.assert_array_equal(found[0], np.zeros(4))
    assert np.abs(found[1]).max() > 0.1


@pytest.mark.parametrize("shape", [(8,), (2, 8), (3, 5, 8), (2, 3, 5, 8)], ids=["vector", "rows", "texts", "heads"])
def test_leading_dimensions_are_kept(graph, shape):
    model = products(graph, rank=max(2, len(shape)))
    if len(shape) == 1:
        del model.graph.input[0].type.tensor_type.shape.dim[0]
        for output in model.graph.output:
            del output.type.tensor_type.shape.dim[0]
    found = run(quantize(model, ["MatMul_y", "MatMul_z"], True, False), x=numbers(*shape))[0]
    assert found.shape == (*shape[:-1], 4)
    assert sqnr_db(numbers(*shape) @ WEIGHTS["w"], found) > 25


def test_products_of_one_activation_quantize_it_once(graph):
    model = quantize(products(graph), ["MatMul_y", "MatMul_z"], True, False)
    kinds = [n.op_type for n in model.graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("MatMulIntegerToFloat")) == (1, 2)
    assert {i.name for i in model.graph.initializer}.isdisjoint(WEIGHTS)


def test_a_weight_that_is_still_read_is_kept(graph):
    model = quantize(products(graph), ["MatMul_y"], True, False)
    assert {i.name for i in model.graph.initializer} & set(WEIGHTS) == {"v"}
    np.testing.assert_allclose(run(model, x=numbers(3, 8))[1], numbers(3, 8) @ WEIGHTS["v"], rtol=1e-5, atol=1e-5)


def test_look_ups_are_quantized_row_by_row(graph):
    model = graph([("Gather", ["table", "ids"], ["rows"])], {"ids": ["batch"]}, {"rows": ["batch", 8]})
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    found = run(quantize(model, ["Gather_rows"], True, False), ids=np.array([3, 0, 3]))[0]
    expected = WEIGHTS["table"][[3, 0, 3]]
    assert np.all(np.abs(found - expected) <= np.abs(expected).max(1, keepdims=True) / 127 / 2 + 1e-6)
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_every_opset_with_one_scale_per_row_will_do(graph, opset):
    model = products(graph)
    model.opset_import[0].version = opset
    found = run(quantize(model, ["MatMul_y", "MatMul_z"], True, False), x=numbers(5, 8))[0]
    assert sqnr_db(numbers(5, 8) @ WEIGHTS["w"], found) > 25
