"""ONNX graphs are fed and answered by name, from one caller or from several at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.onnx import MODEL, OnnxRuntime, external_data
from tests.jobs import job_of, numbers, onnx_file


@pytest.fixture
def folder(tmp_path):
    onnx_file(
        tmp_path / MODEL,
        [("MatMul", ["a", "w"], ["product"]), ("Sub", ["product", "b"], ["difference"])],
        {"a": ["batch", 8], "b": ["batch", 4]},
        {"product": ["batch", 4], "difference": ["batch", 4]},
        {"w": numbers(8, 4)},
    )
    return tmp_path


def test_inputs_and_outputs_go_by_name(folder):
    runtime = OnnxRuntime.load(folder, {}, threads=1)
    b, a = numbers(3, 4, seed=1), numbers(3, 8, seed=2)
    found = runtime.run({"b": b, "a": a})
    assert list(found) == ["product", "difference"]
    np.testing.assert_allclose(found["product"], a @ numbers(8, 4), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["difference"], a @ numbers(8, 4) - b, rtol=1e-5, atol=1e-6)


def test_a_call_takes_the_threads_it_is_given_and_does_not_spin(folder):
    for threads in (1, 3):
        options = OnnxRuntime.load(folder, {}, threads=threads)._session.get_session_options()
        assert options.intra_op_num_threads == threads
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert OnnxRuntime.concurrent


def test_callers_at_once_get_their_own_answers(folder):
    runtime = OnnxRuntime.load(folder, {}, threads=4)
    batches = [{"a": numbers(5, 8, seed=i), "b": numbers(5, 4, seed=i)} for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runtime.run, batches))
    for batch, answer in zip(batches, found, strict=True):
        np.testing.assert_array_equal(answer["difference"], runtime.run(batch)["difference"])


def beside(path, folder, location="weights.bin"):
    """The graph with its weights in a file beside it."""
    folder.mkdir()
    copy = folder / "graph.onnx"
    onnx.save(onnx.load(path), copy, save_as_external_data=True, size_threshold=0, location=location)
    return copy


def test_a_reference_is_the_users_file_byte_for_byte(folder, tmp_path):
    single, split = folder / MODEL, beside(folder / MODEL, tmp_path / "split")
    for path, files in ((single, {}), (split, {"weights.bin": split.parent / "weights.bin"})):
        copy = tmp_path / f"reference-of-{path.stem}"
        copy.mkdir()
        job = job_of(path, [{"a": numbers(8), "b": numbers(4)}], tmp_path)
        assert OnnxRuntime.write_reference(job, copy, "float32") == {}
        expected = {MODEL: path, **files}
        assert {p.name: p.read_bytes() for p in copy.iterdir()} == {n: p.read_bytes() for n, p in expected.items()}
        found = OnnxRuntime.load(copy, {}, threads=1).run({"a": numbers(2, 8), "b": numbers(2, 4)})
        np.testing.assert_allclose(found["product"], numbers(2, 8) @ numbers(8, 4), rtol=1e-5, atol=1e-6)


def test_weights_beside_a_file_are_found_wherever_the_graph_has_them(folder, tmp_path):
    model = onnx.load(folder / MODEL)
    constant = onnx.helper.make_node("Constant", [], ["w"], value=model.graph.initializer.pop())
    inner = onnx.helper.make_graph([constant], "inner", [], [onnx.helper.make_tensor_value_info("w", 1, [8, 4])])
    branches = onnx.helper.make_node("If", ["yes"], ["weights"], then_branch=inner, else_branch=inner)
    model.graph.node.insert(0, branches)
    split = tmp_path / "split"
    split.mkdir()
    onnx.save(
        model, split / "graph.onnx", save_as_external_data=True, size_threshold=0, location="w", convert_attribute=True
    )
    attribute = onnx.load(split / "graph.onnx", load_external_data=False).graph.node[0].attribute[0]
    assert attribute.g.node[0].attribute[0].t.data_location == onnx.TensorProto.EXTERNAL
    assert external_data(split / "graph.onnx") == [split / "w"]


def test_weights_that_are_missing_or_lie_elsewhere_are_said(folder, tmp_path):
    split = beside(folder / MODEL, tmp_path / "split")
    (split.parent / "weights.bin").unlink()
    with pytest.raises(
        QuantbentoError, match=r"keeps weights in 'weights.bin', which must lie beside it, and does not"
    ):
        external_data(split)
    model = onnx.load(split, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../weights.bin"
    onnx.save(model, split)
    with pytest.raises(QuantbentoError, match=r"keeps weights in '../weights.bin', which is not below its folder"):
        external_data(split)


@pytest.mark.parametrize("content", [b"", b"no graph at all", onnx.ModelProto(ir_version=8).SerializeToString()])
def test_what_is_no_graph_is_said(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(QuantbentoError, match=r"a\.onnx is not an ONNX file: "):
        external_data(tmp_path / "a.onnx")


def test_a_graph_that_cannot_be_loaded_is_said_without_its_path(folder):
    model = onnx.load(folder / MODEL)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Unheard", "of.somebody"
    model.opset_import.append(onnx.helper.make_opsetid("of.somebody", 1))
    onnx.save(model, folder / MODEL)
    with pytest.raises(
        QuantbentoError, match=r"ONNX Runtime \S+ cannot load the graph: .*of\.somebody:Unheard"
    ) as raised:
        OnnxRuntime.load(folder, {}, threads=1)
    assert str(folder) not in str(raised.value)
    assert "ONNXRuntimeError" not in str(raised.value)
