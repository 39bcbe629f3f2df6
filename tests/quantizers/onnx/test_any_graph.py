"""Whatever an ONNX file holds, a recipe for it ends at a stored variant or at a sentence that says why not."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import onnx_graph
from quantbento.making import pipeline
from tests.jobs import numbers

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
W = numbers(8, 4, seed=1)
X = ("x", FLOAT, ["batch", 8])


@pytest.fixture
def save(tmp_path, bento_home, monkeypatch):
    """Takes a file through a recipe; returns the variant's row, or raises what the user sees."""
    monkeypatch.chdir(tmp_path)

    def run(path, **inputs):
        np.savez(tmp_path / "samples.npz", **(inputs or {"x": numbers(12, 8)}))
        recipe = {
            "schema_version": 1,
            "name": "any",
            "task": "tensor",
            "model": {"onnx": str(path)},
            "evaluation": {"path": str(tmp_path / "samples.npz")},
            "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False},
            "variants": [{"name": "int8", "quantizer": "onnx-dynamic"}],
        }
        [row] = pipeline.save(recipe, output=tmp_path / "reports").variants
        if row.error:
            raise QuantbentoError(row.error)
        return row

    return run


def file(path, nodes, inputs=(X,), outputs=(("y", FLOAT),), weights=None, opset=12, domains=(), ir_version=8):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version), path)
    return path


def node(op, inputs, output="y", **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def constant(name, array):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))


@pytest.mark.parametrize("opset", [9, 11, 12, 18])
def test_weights_in_constant_nodes_of_any_opset_are_stored(save, tmp_path, opset):
    nodes = [constant("w", W), node("Identity", ["w"], "v"), node("MatMul", ["x", "v"])]
    row = save(file(tmp_path / "a.onnx", nodes, opset=opset))
    assert row.quantized["counts"] == {"MatMulIntegerToFloat": 1}
    assert row.quantized["parameters"] == row.quantized["of_parameters"] == 32
    [note] = row.quantized["notes"]
    assert note.startswith(f"started from the graph in canonical form (opset {opset} to 18, 3 operators to 1)")
    assert row.metrics["sqnr_db"] > 30
    assert row.quantized == store.find(row.tag).manifest["variant"]["quantized"]
    described = {"Identity", "Constant"} & {
        n.op_type for n in onnx.load(store.find(row.tag).path / "model.onnx").graph.node
    }
    assert described == set()


def test_token_ids_of_32_bit_are_looked_up_in_a_quantized_table(save, tmp_path):
    nodes = [node("Gather", ["table", "ids"], "rows"), node("MatMul", ["rows", "w"])]
    path = file(
        tmp_path / "a.onnx", nodes, [("ids", INT32, ["batch", 6])], weights={"table": numbers(50, 8), "w": W}, opset=15
    )
    row = save(path, ids=np.random.default_rng(0).integers(0, 50, (12, 6), dtype=np.int32))
    assert row.quantized["counts"] == {"MatMulIntegerToFloat": 1, "Gather": 1}
    assert row.metrics["sqnr_db"] > 30


def test_a_state_beside_its_batch_and_a_shared_number_are_stored(save, tmp_path):
    """As in voice detectors: the state's batch is its second axis, and the sample rate has none."""
    nodes = [
        node("ReduceSum", ["state", "first"], "sum", keepdims=0),
        node("MatMul", ["x", "w"], "p"),
        node("Add", ["p", "sum"], "q"),
        node("Cast", ["sr"], "rate", to=FLOAT),
        node("Div", ["q", "rate"]),
        node("Mul", ["state", "state"], "next"),
    ]
    path = file(
        tmp_path / "a.onnx",
        nodes,
        [X, ("state", FLOAT, [2, "batch", 4]), ("sr", INT64, [])],
        [("y", FLOAT), ("next", FLOAT)],
        {"w": W, "first": np.asarray([0])},
        opset=16,
    )
    row = save(path, x=numbers(12, 8), state=numbers(12, 2, 4), sr=np.full(12, 16))
    assert row.quantized["counts"] == {"MatMulIntegerToFloat": 1}
    assert row.metrics["sqnr_db"] > 30


def test_a_canonical_graph_that_computes_something_else_is_not_used(save, tmp_path, monkeypatch):
    """The constants still become weights, in the graph's own opset, which has no activation scale for each token."""

    def raised_wrongly(model):
        before(model)
        for weight in model.graph.initializers.values():
            weight.const_value = ir.tensor(weight.const_value.numpy() * 2, name=weight.name)

    before = onnx_graph._raise_opset
    monkeypatch.setattr(onnx_graph, "_raise_opset", raised_wrongly)
    path = file(tmp_path / "a.onnx", [constant("w", W), node("MatMul", ["x", "w"])], opset=9)
    row = save(path)
    assert row.metrics["sqnr_db"] > 30
    refused, used, scales = row.quantized["notes"][:3]
    assert (
        refused
        == "the graph in canonical form is not used: its answers are 0 dB from the original's, and 90 are needed"
    )
    assert used.startswith("started from the graph with its constants as weights (opset 9 to 9, 2 operators to 1)")
    assert scales.startswith("activations have one scale for the whole batch")


def test_an_opset_that_cannot_be_raised_right_ends_at_a_sentence(save, tmp_path):
    """onnx's converter raises a Scan of opset 8, whose inputs are batches, to one that takes others."""
    body = helper.make_graph(
        [node("Add", ["sum_in", "next"], "sum_out"), node("Identity", ["sum_out"], "scan_out")],
        "body",
        [helper.make_tensor_value_info(name, FLOAT, [4]) for name in ("sum_in", "next")],
        [helper.make_tensor_value_info(name, FLOAT, [4]) for name in ("sum_out", "scan_out")],
    )
    nodes = [
        constant("w", W),
        node("MatMul", ["x", "w"], "p"),
        helper.make_node("Scan", ["", "start", "p"], ["y", "z"], body=body, num_scan_inputs=1),
    ]
    inputs = [("x", FLOAT, [1, 3, 8]), ("start", FLOAT, [1, 4])]
    path = file(tmp_path / "a.onnx", nodes, inputs, [("y", FLOAT), ("z", FLOAT)], opset=8, ir_version=3)
    with pytest.raises(QuantbentoError, match=r"ONNX Runtime .* cannot load the graph: .*Scan"):
        save(path, x=numbers(6, 3, 8), start=numbers(6, 4))


REFUSED = {
    "no weights": ([node("Relu", ["x"])], {}, r"would quantize nothing: .*\(it has 1 Relu\)"),
    "convolution": (
        [node("Unsqueeze", ["x"], "u", axes=[1]), node("Conv", ["u", "k"])],
        {"k": numbers(4, 1, 3)},
        r"1 Conv with 100% of the weights can be asked for: activations: per_tensor and include_ops: \[Conv\]",
    ),
    "two inputs": ([node("Transpose", ["x"], "t"), node("MatMul", ["x", "t"])], {}, "would quantize nothing"),
    "quantized": (
        [node("DynamicQuantizeLinear", ["x"], "q")],
        {},
        r"the graph is quantized already \(it has 1 DynamicQuantizeLinear\)",
    ),
    "other domain": ([node("Unheard", ["x"], domain="of.somebody")], {}, "ONNX Runtime.* cannot load .*Unheard"),
    "no such operator": ([node("Unheard", ["x"])], {}, "ONNX Runtime.* cannot load .*"),
    "not connected": ([node("Relu", ["nowhere"])], {}, "ONNX Runtime.* cannot load .*"),
    "not finite": ([node("Log", ["x"])], {}, "gives NaN or infinity"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_quantized_is_said(save, tmp_path, name):
    nodes, weights, reason = REFUSED[name]
    if name == "quantized":
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            node("MatMulInteger", ["q", "w8", "z"], "i"),
            node("Cast", ["i"], to=FLOAT),
        ]
        weights, reason = (
            {"w8": np.ones((8, 4), np.uint8)},
            r"quantized already \(it has 1 DynamicQuantizeLinear, 1 MatMulI",
        )
    path = file(tmp_path / "a.onnx", nodes, weights=weights, domains=["of.somebody"])
    with pytest.raises(QuantbentoError, match=reason):
        save(path)


BROKEN = {
    "empty": (b"", "is not an ONNX file"),
    "text": (b"ir_version: 8", "is not an ONNX file"),
    "no graph": (onnx.ModelProto(ir_version=8).SerializeToString(), "is not an ONNX file"),
    "cut off": (None, "is not an ONNX file|cannot load"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_graph_is_said(save, tmp_path, name):
    content, reason = BROKEN[name]
    path = file(tmp_path / "a.onnx", [node("MatMul", ["x", "w"])], weights={"w": W})
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(QuantbentoError, match=reason):
        save(path)


def test_weights_that_are_missing_beside_the_file_are_said(save, tmp_path):
    path = file(tmp_path / "a.onnx", [node("MatMul", ["x", "w"])], weights={"w": W})
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="a.data")
    assert save(path).quantized["counts"] == {"MatMulIntegerToFloat": 1}
    (tmp_path / "a.data").write_bytes(b"short")
    with pytest.raises(QuantbentoError, match=r"cannot load|a\.data"):
        save(path)
    (tmp_path / "a.data").unlink()
    with pytest.raises(QuantbentoError, match=r"keeps weights in 'a\.data', which must lie beside it"):
        save(path)


def test_text_is_refused_with_the_reason(save, tmp_path):
    path = file(
        tmp_path / "a.onnx",
        [node("Identity", ["x"])],
        [("x", TensorProto.STRING, ["batch"])],
        [("y", TensorProto.STRING)],
    )
    with pytest.raises(QuantbentoError, match="'x' takes text"):
        save(path, x=numbers(3))
