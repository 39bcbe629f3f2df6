"""An ONNX graph says itself what it takes; what it gives is seen by running it."""

import numpy as np
import onnx
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.tasks.source import SampleSet
from quantbento.tasks.tensor.graph import read, understand
from quantbento.tasks.tensor.options import TensorOptions
from quantbento.tasks.tensor.values import DTYPES
from tests.tasks.tensor.graphs import typed_graph

NO_OPTIONS = TensorOptions()


def identity(path, kind, shape, out=None):
    return typed_graph(path, [("Identity", ["x"], ["y"])], {"x": (kind, shape)}, {"y": (kind, out or shape)})


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_graph_s_own_type_is_the_one_that_is_taken(tmp_path, dtype):
    path = identity(tmp_path / "a.onnx", dtype, ["N", 3])
    [known], layout = understand(path, NO_OPTIONS, SampleSet([[1, 0, 1]]))
    assert (known.dtype, known.shape, known.batch_axis) == (dtype, (3,), 0)
    assert layout.outputs == {"y": 0}


@pytest.mark.parametrize(
    ("kind", "said"),
    [("text", "'x' takes text.*a vectorizer: export the part behind it"), ("bfloat16", "'x' takes bfloat16; task")],
)
def test_other_types_are_refused_with_the_reason(tmp_path, kind, said):
    with pytest.raises(QuantbentoError, match=said):
        read(identity(tmp_path / "a.onnx", kind, ["N", 3]))


def test_a_sequence_is_refused(tmp_path):
    path = identity(tmp_path / "a.onnx", "float32", ["N", 3])
    model = onnx.load(path)
    tensor = model.graph.input[0].type
    model.graph.input[0].CopyFrom(
        onnx.helper.make_value_info(
            "x", onnx.helper.make_sequence_type_proto(onnx.TypeProto.FromString(tensor.SerializeToString()))
        )
    )
    onnx.save(model, path)
    with pytest.raises(QuantbentoError, match="the input 'x' takes a sequence"):
        read(path)


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no graph at all")
    with pytest.raises(QuantbentoError, match=r"a\.onnx is not an ONNX file"):
        read(tmp_path / "a.onnx")


def test_a_graph_that_cannot_be_loaded_is_one_sentence(tmp_path):
    path = typed_graph(
        tmp_path / "a.onnx", [("NoSuchOperator", ["x"], ["y"])], {"x": ("float32", ["N"])}, {"y": ("float32", ["N"])}
    )
    with pytest.raises(QuantbentoError, match=r"^ONNX Runtime cannot load .*a\.onnx: "):
        understand(path, NO_OPTIONS, SampleSet([1.0]))


def test_state_and_scalar_inputs_and_outputs_beside_the_batch(tmp_path):
    """The shape of a recurrent model: the state's batch is its second axis, the sample rate is one number."""
    path = typed_graph(
        tmp_path / "a.onnx",
        [
            ("Cast", ["rate"], ["divisor"], {"to": onnx.TensorProto.FLOAT}),
            ("Div", ["state", "divisor"], ["next"]),
            ("ReduceSum", ["x", "axes"], ["y"], {"keepdims": 1}),
        ],
        {"x": ("float32", ["N", "time"]), "state": ("float32", [2, "N", 4]), "rate": ("int64", [])},
        {"y": ("float32", ["N", 1]), "next": ("float32", [2, "N", 4])},
        {"axes": np.array([1])},
    )
    sample = {"x": np.ones(7), "state": np.ones((2, 4)), "rate": 16000}
    inputs, layout = understand(path, NO_OPTIONS, SampleSet([sample]))
    assert [(i.name, i.dtype, i.shape, i.batch_axis, i.value) for i in inputs] == [
        ("x", "float32", (None,), 0, None),
        ("state", "float32", (2, 4), 1, None),
        ("rate", "int64", (), None, 16000),
    ]
    assert layout.outputs == {"y": 0, "next": 1}


def test_a_fixed_batch_runs_item_by_item(tmp_path):
    path = identity(tmp_path / "a.onnx", "float32", [4, 3])
    [known], layout = understand(path, NO_OPTIONS, SampleSet([[1, 2, 3]]))
    assert (known.shape, layout.batch, layout.outputs) == ((3,), 4, {"y": 0})


def test_batches_of_different_sizes_are_refused(tmp_path):
    path = typed_graph(
        tmp_path / "a.onnx",
        [("Identity", ["x"], ["y"]), ("Identity", ["z"], ["w"])],
        {"x": ("float32", [4, 3]), "z": ("float32", [2, 3])},
        {"y": ("float32", [4, 3]), "w": ("float32", [2, 3])},
    )
    with pytest.raises(QuantbentoError, match=r"batches of different sizes, '2' or '4'.*{batch_axis: {<input>: null}}"):
        understand(path, NO_OPTIONS, SampleSet([{"x": [1, 2, 3], "z": [1, 2, 3]}]))


def test_a_graph_that_says_any_batch_and_takes_one_item_runs_item_by_item(tmp_path):
    path = typed_graph(
        tmp_path / "a.onnx",
        [("Reshape", ["x", "shape"], ["y"])],
        {"x": ("float32", ["N", 4])},
        {"y": ("float32", None)},
        {"shape": np.array([1, 2, 2])},
    )
    _, layout = understand(path, NO_OPTIONS, SampleSet([[1, 2, 3, 4]]))
    assert (layout.batch, layout.outputs) == (1, {"y": 0})


def test_outputs_that_are_no_arrays_of_numbers_are_left_out(tmp_path):
    path = typed_graph(
        tmp_path / "a.onnx",
        [("Identity", ["x"], ["y"]), ("SequenceConstruct", ["x"], ["list"])],
        {"x": ("float32", ["N", 3])},
        {"y": ("float32", ["N", 3])},
    )
    model = onnx.load(path)
    element = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["N", 3])
    model.graph.output.append(onnx.helper.make_value_info("list", onnx.helper.make_sequence_type_proto(element)))
    onnx.save(model, path)
    _, layout = understand(path, NO_OPTIONS, SampleSet([[1, 2, 3]]))
    assert list(layout.outputs) == ["y"]
    assert layout.notes == ["the output 'list' is left out: it is a sequence"]
    del model.graph.output[0]
    onnx.save(model, path)
    with pytest.raises(QuantbentoError, match="gives no array of numbers"):
        read(path)


def test_a_type_that_the_graph_contradicts_is_refused(tmp_path):
    path = identity(tmp_path / "a.onnx", "int32", ["N", 3])
    understand(path, TensorOptions(dtypes={"x": "int32"}), SampleSet([[1, 2, 3]]))
    with pytest.raises(QuantbentoError, match="'x' takes int32, as the graph says"):
        understand(path, TensorOptions(dtypes={"x": "int64"}), SampleSet([[1, 2, 3]]))


def test_samples_of_another_type_are_refused_where_they_do_not_fit(tmp_path):
    path = identity(tmp_path / "a.onnx", "uint8", ["N", 3])
    with pytest.raises(QuantbentoError, match=r"x must be from 0 to 255 \(uint8\): it holds 300"):
        understand(path, NO_OPTIONS, SampleSet([[1, 2, 300]]))


def test_an_axis_of_size_minus_one_is_free(tmp_path):
    path = identity(tmp_path / "a.onnx", "float32", [-1, 3])
    [known], layout = understand(path, NO_OPTIONS, SampleSet([[1, 2, 3]]))
    assert (known.shape, layout.batch) == ((3,), None)


def test_a_graph_that_does_not_say_its_shapes_is_known_by_its_samples(tmp_path):
    path = identity(tmp_path / "a.onnx", "float32", None)
    [known], _ = understand(path, NO_OPTIONS, SampleSet([[[1, 2]], [[1, 2, 3]]]))
    assert (known.shape, known.batch_axis) == ((1, None), 0)
