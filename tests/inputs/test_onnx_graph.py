"""Graphs as other exporters write them become what quantizers expect, and compute the same."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantbento.inputs import onnx_graph
from quantbento.inputs.onnx_graph import OPSET, canonical
from quantbento.runtimes.onnx import MODEL, external_data
from tests.jobs import numbers

FLOAT = TensorProto.FLOAT
W, B = numbers(8, 4, seed=1), numbers(4, seed=2)


def save(path, nodes, opset=12, weights=None, functions=(), inputs=("x",), ir_version=8, imports=()):
    """A graph from `x` (batch, 8) to `y`; weights are initializers."""
    taken = [helper.make_tensor_value_info(name, FLOAT, ["batch", 8]) for name in inputs if name not in (weights or {})]
    taken += [
        helper.make_tensor_value_info(name, FLOAT, w.shape) for name, w in (weights or {}).items() if name in inputs
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        taken,
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *imports]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=functions), path)
    return path


def constant(name, array):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def answers(path, **inputs):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, inputs or {"x": numbers(3, 8)})[0]


def kinds(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def weights_of(path):
    return {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


def opset_of(path):
    return {o.domain: o.version for o in onnx.load(path).opset_import}


@pytest.fixture
def old(tmp_path):
    """Weights in Constant nodes, an old opset, chains of Identity, and a weight that nothing reads."""
    nodes = [
        constant("w", W),
        helper.make_node("Identity", ["w"], ["w1"]),
        helper.make_node("Identity", ["x"], ["x1"]),
        helper.make_node("Identity", ["x1"], ["x2"]),
        helper.make_node("MatMul", ["x2", "w1"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["product", "mean"], ["y"]),
    ]
    return save(tmp_path / "old.onnx", nodes, weights={"unread": numbers(100)})


def test_constants_become_weights_and_the_rest_goes(old, tmp_path):
    before = old.read_bytes()
    found = canonical(old, tmp_path / "out")
    assert (found.step, found.notes) == ("canonical", [])
    assert found.change == f"opset 12 to {OPSET}, 7 operators to 3"
    assert kinds(found.path) == ["MatMul", "ReduceMean", "Sub"]
    weights = weights_of(found.path)
    product = onnx.load(found.path).graph.node[0]
    np.testing.assert_array_equal(weights[product.input[1]], W)
    assert not any(array.shape == (100,) for array in weights.values())
    np.testing.assert_allclose(answers(found.path), answers(old), rtol=1e-6, atol=1e-6)
    assert old.read_bytes() == before


def test_shapes_are_inferred(old, tmp_path):
    known = {v.name: v for v in onnx.load(canonical(old, tmp_path / "out").path).graph.value_info}
    assert [d.dim_value or d.dim_param for d in known["product"].type.tensor_type.shape.dim] == ["batch", 4]


def test_a_step_less_leaves_the_operators_as_they_are(old, tmp_path):
    found = canonical(old, tmp_path / "out", after="canonical")
    assert (found.step, opset_of(found.path)) == ("constants", {"": 12})
    assert kinds(found.path).count("Identity") == 3
    assert [w.shape for w in weights_of(found.path).values()] == [(8, 4)]
    np.testing.assert_array_equal(answers(found.path), answers(old))
    last = canonical(old, tmp_path / "out", after="constants")
    assert (last.step, last.path, last.change, last.notes) == ("untouched", old, "", [])


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_an_old_opset_is_raised(tmp_path, opset):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Softmax", ["p"], ["y"], axis=1)]
    path = save(tmp_path / "a.onnx", nodes, opset, {"w": W})
    found = canonical(path, tmp_path / "out")
    assert (found.step, opset_of(found.path)) == ("canonical", {"": OPSET})
    np.testing.assert_allclose(answers(found.path), answers(path), rtol=1e-6)


def test_a_newer_opset_stays(tmp_path):
    path = save(tmp_path / "a.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], 21, {"w": W}, ir_version=10)
    assert opset_of(canonical(path, tmp_path / "out").path) == {"": 21}


def test_the_other_name_of_the_domain_is_known(tmp_path):
    path = save(tmp_path / "a.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], 12, {"w": W})
    model = onnx.load(path)
    model.opset_import[0].domain = "ai.onnx"
    onnx.save(model, path)
    assert opset_of(canonical(path, tmp_path / "out").path) == {"": OPSET}


def test_weights_behind_a_cast_or_a_transpose_are_computed(tmp_path):
    large = numbers(64, 8, seed=4).astype(np.float16)  # more than the optimizer would compute by itself, times 20
    large = np.tile(large, (20, 1))
    nodes = [
        helper.make_node("Cast", ["half"], ["single"], to=FLOAT),
        helper.make_node("Transpose", ["single"], ["w"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Shape", ["single"], ["size"]),  # a second reader
    ]
    path = save(tmp_path / "a.onnx", nodes, 18, {"half": large})
    found = canonical(path, tmp_path / "out")
    assert kinds(found.path) == ["MatMul"]
    assert [(w.dtype, w.shape) for w in weights_of(found.path).values()] == [(np.dtype("float32"), (8, 1280))]
    np.testing.assert_array_equal(answers(found.path), answers(path))


def test_weights_that_a_caller_could_replace_are_weights(tmp_path):
    """Old files list every weight as an input, too."""
    path = save(
        tmp_path / "a.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        8,
        {"w": W},
        inputs=("x", "w"),
        ir_version=3,
    )
    model = onnx.load(canonical(path, tmp_path / "out").path)
    assert [i.name for i in model.graph.input] == ["x"]
    assert [i.name for i in model.graph.initializer] == ["w"]


def test_functions_are_opened(tmp_path):
    body = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    function = helper.make_function("own", "Dense", ["a", "b"], ["d"], body, [helper.make_opsetid("", 18)])
    call = helper.make_node("Dense", ["x", "w"], ["y"], domain="own")
    path = save(tmp_path / "a.onnx", [call], 18, {"w": W}, [function], imports=[helper.make_opsetid("own", 1)])
    found = canonical(path, tmp_path / "out")
    assert kinds(found.path) == ["MatMul", "Relu"]
    assert not onnx.load(found.path).functions
    np.testing.assert_array_equal(answers(found.path), answers(path))


def branching(path, opset=12):
    """An If whose branches multiply with a weight of the main graph, and with a constant of their own."""

    def branch(name, nodes):
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}_y", FLOAT, None)])

    then = branch("then", [helper.make_node("MatMul", ["x", "w"], ["then_y"])])
    other = branch(
        "other",
        [
            constant("v", -W),
            helper.make_node("MatMul", ["x", "v"], ["p"]),
            helper.make_node("ReduceMean", ["p"], ["m"], axes=[1]),
            helper.make_node("Mul", ["p", "m"], ["other_y"]),
        ],
    )
    nodes = [
        constant("zero", np.zeros((), np.float32)),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    return save(path, nodes, opset, {"w": W})


def test_branches_are_raised_with_the_graph(tmp_path):
    path = branching(tmp_path / "if.onnx")
    found = canonical(path, tmp_path / "out")
    assert (found.step, opset_of(found.path)) == ("canonical", {"": OPSET})
    assert "If" in kinds(found.path)
    for x in (np.abs(numbers(3, 8)), -np.abs(numbers(3, 8))):
        np.testing.assert_allclose(answers(found.path, x=x), answers(path, x=x), rtol=1e-5)


def test_operators_of_other_domains_are_left_alone(tmp_path):
    nodes = [
        constant("w", W),
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Gelu", ["p"], ["y"], domain="com.microsoft"),
        helper.make_node("Unheard", ["p"], ["unread"], domain="of.somebody"),
    ]
    domains = [helper.make_opsetid(name, 1) for name in ("com.microsoft", "of.somebody")]
    path = save(tmp_path / "a.onnx", nodes, 12, imports=domains)
    found = canonical(path, tmp_path / "out")
    assert kinds(found.path) == ["MatMul", "Gelu"]  # what nobody reads goes
    assert opset_of(found.path) == {"": OPSET, "com.microsoft": 1}


def test_weights_in_a_file_beside_it_are_read(old, tmp_path):
    (tmp_path / "large").mkdir()
    onnx.save(
        onnx.load(old),
        path := tmp_path / "large/graph.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="weights.bin",
        convert_attribute=True,
    )
    assert [file.name for file in external_data(path)] == ["weights.bin"]
    found = canonical(path, tmp_path / "out")
    assert external_data(found.path) == []
    np.testing.assert_allclose(answers(found.path), answers(old), rtol=1e-6, atol=1e-6)


def test_what_one_file_cannot_hold_is_written_beside_it(tmp_path, monkeypatch):
    nodes = [constant("w", numbers(8, 100)), helper.make_node("MatMul", ["x", "w"], ["y"])]
    old = save(tmp_path / "a.onnx", nodes)
    monkeypatch.setattr(onnx_graph, "LARGEST_IN_ONE_FILE", 3000)
    found = canonical(old, tmp_path / "out")
    assert [file.name for file in external_data(found.path)] == [f"{MODEL}.data"]
    np.testing.assert_allclose(answers(found.path), answers(old), rtol=1e-6, atol=1e-6)


def test_an_opset_that_cannot_be_raised_is_noted(tmp_path):
    """Upsample has no successor that the converter knows for this mode."""
    nodes = [
        constant("w", W),
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Upsample", ["p"], ["y"]),
    ]
    found = canonical(save(tmp_path / "a.onnx", nodes, 9), tmp_path / "out")
    assert (found.step, opset_of(found.path)) == ("constants", {"": 9})
    assert len(found.notes) == 1
    assert "the graph in canonical form could not be made: ValueError: its opset 9 cannot be raised" in found.notes[0]


def test_what_is_no_graph_is_left_alone(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no graph at all")
    found = canonical(path, tmp_path / "out")
    assert (found.step, found.path, len(found.notes)) == ("untouched", path, 2)


def models_of_onnx():
    """The graphs that onnx's own tests bring: small layers in old opsets, functions, sequences."""
    return sorted((Path(onnx.__file__).parent / "backend/test/data").rglob("*.onnx"))


@pytest.mark.slow
def test_the_graphs_of_onnxs_own_tests_stay_the_same(tmp_path):
    same = 0
    for path in models_of_onnx():
        found = canonical(path, tmp_path / path.parent.name)
        try:
            session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            batch = {i.name: _made_up(i) for i in session.get_inputs()}
            expected = session.run(None, batch)
        except Exception:
            continue  # ONNX Runtime does not run the original either
        other = ort.InferenceSession(str(found.path), providers=["CPUExecutionProvider"]).run(None, batch)
        for a, b in zip(expected, other, strict=True):
            if isinstance(a, np.ndarray) and a.dtype.kind == "f":
                np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5, err_msg=str(path))
        same += found.step == "canonical"
    assert same > 50


def _made_up(value):
    shape = [size if isinstance(size, int) and size > 0 else 2 for size in value.shape]
    kind = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(double)": np.float64}[value.type]
    return numbers(*shape).astype(kind) if np.dtype(kind).kind == "f" else np.ones(shape, kind)
