"""Quantized graphs have integer operators where asked, at any batch and length, and are never silently unquantized."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.onnx_graph import CanonicalGraph
from quantbento.quantizers.onnx import dynamic
from quantbento.quantizers.onnx.dynamic import OnnxDynamicOptions
from quantbento.runtimes.onnx import MODEL
from quantbento.tasks.metrics import sqnr_db
from tests.conftest import labelled_texts
from tests.jobs import hidden_states, job_of, numbers, onnx_file, quantized, text_job

PER_TOKEN, PER_TENSOR = "MatMulIntegerToFloat", "MatMulInteger"  # the operator that a quantized MatMul becomes
BOTH = pytest.mark.parametrize(
    ("activations", "product"),
    [("per_token", PER_TOKEN), ("per_tensor", PER_TENSOR)],
    ids=["per-token", "per-tensor"],
)
HALVES = {"left": ["batch", 16], "right": ["batch", 16]}


@pytest.fixture(scope="module")
def encoder(tiny_encoder, tmp_path_factory):
    """A job for the tiny encoder; all tests share one export."""
    return text_job(tiny_encoder, "feature-extraction", labelled_texts(4, seed=5)[0], tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    return job_of(module, list(numbers(20, 16)), tmp_path_factory.mktemp("job"))


@pytest.fixture
def own_graph(tmp_path):
    """A user's ONNX file with two inputs and two matrix products."""
    path = onnx_file(
        tmp_path / "own.onnx",
        [("MatMul", ["left", "a"], ["x"]), ("MatMul", ["right", "b"], ["y"]), ("Sub", ["x", "y"], ["difference"])],
        HALVES,
        {"difference": ["batch", 4]},
        {"a": numbers(16, 4, seed=1), "b": numbers(16, 4, seed=2)},
    )
    pairs = zip(numbers(10, 16, seed=3), numbers(10, 16, seed=4), strict=True)
    inputs = [{"left": left, "right": right} for left, right in pairs]
    return job_of(path, inputs, tmp_path)


def operators(folder):
    return [n.op_type for n in onnx.load(folder / MODEL).graph.node]


def fidelity(job, predictor):
    batch = job.task.collate([job.task.check(item) for item in job.samples.inputs])
    with torch.no_grad():
        expected = job.source.module(*map(torch.from_numpy, batch.values())).numpy()
    return sqnr_db(expected, np.stack(predictor(job.samples.inputs)))


@BOTH
def test_an_encoder_runs_at_sizes_it_was_not_exported_with(encoder, tmp_path, activations, product):
    done, predictor = quantized(encoder, "onnx-dynamic", tmp_path, activations=activations)
    assert done.counts == {product: 2 * 6, "Gather": 3}  # query, key, value, output, up, down; words, places, types
    assert 0.9 < done.quantized_parameters / done.parameters < 1
    for expected, found in hidden_states(encoder, predictor):
        assert sqnr_db(expected, found) > 20


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"exclude_ops": ["Gather"]}, {PER_TOKEN: 12}),
        ({"include_ops": ["Gather"]}, {"Gather": 3}),
        ({"include_ops": ["Gather"], "activations": "per_tensor"}, {"Gather": 3}),
    ],
    ids=["exclude", "include", "include-per-tensor"],
)
def test_operators_can_be_left_out(encoder, tmp_path, options, counts):
    assert quantized(encoder, "onnx-dynamic", tmp_path, **options)[0].counts == counts


@BOTH
def test_an_mlp_of_gemm_alone_is_quantized(mlp, tmp_path, activations, product):
    done, predictor = quantized(mlp, "onnx-dynamic", tmp_path, activations=activations)
    assert done.counts == {product: 2}
    assert (done.quantized_parameters, done.parameters) == (16 * 32 + 32 * 4, 16 * 32 + 32 + 32 * 4 + 4)
    assert not {"Gemm", "MatMul"} & set(operators(tmp_path))
    assert 25 < fidelity(mlp, predictor) < 100


def test_a_few_batches_spread_over_all_say_what_stands_for_0(mlp, tmp_path, monkeypatch):
    def measured(model, products, batches):
        used.extend(batches)
        return dynamic_measured(model, products, batches)

    used, dynamic_measured = [], dynamic.measured
    monkeypatch.setattr(dynamic, "measured", measured)
    batches = [mlp.task.collate([mlp.task.check(item)]) for item in mlp.samples.inputs[:9]]
    quantized(replace(mlp, calibration=batches), "onnx-dynamic", tmp_path)
    assert [next(i for i, batch in enumerate(batches) if batch is one) for one in used] == [0, 3, 6]


def test_gemm_is_named_as_matmul_or_as_itself(mlp, tmp_path):
    assert quantized(mlp, "onnx-dynamic", tmp_path, include_ops=["Gemm"])[0].counts == {PER_TOKEN: 2}


@BOTH
def test_a_weight_that_two_layers_share_is_quantized_once(tmp_path, activations, product):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(16, 16)

        def forward(self, x):
            return self.linear(torch.tanh(self.linear(x)))

    torch.manual_seed(0)
    job = job_of(Twice(), list(numbers(20, 16)), tmp_path)
    done, predictor = quantized(job, "onnx-dynamic", tmp_path / "int8", activations=activations)
    assert done.counts == {product: 2}
    assert done.quantized_parameters == 16 * 16
    assert fidelity(job, predictor) > 25


@BOTH
def test_per_channel_weights_are_closer_where_channels_are_uneven(tmp_path, activations, product):
    scale = np.logspace(0, 3, 8, dtype=np.float32)
    path = onnx_file(
        tmp_path / "uneven.onnx",
        [("MatMul", ["x", "w"], ["wide"]), ("Div", ["wide", "scale"], ["y"])],
        {"x": ["batch", 32]},
        {"y": ["batch", 8]},
        {"w": numbers(32, 8) * scale, "scale": scale},
    )
    job = job_of(path, list(numbers(50, 32)), tmp_path)
    expected = np.stack(job.samples.inputs) @ numbers(32, 8)
    found = {}
    for per_channel in (True, False):
        options = {"activations": activations, "per_channel": per_channel}
        _, predictor = quantized(job, "onnx-dynamic", tmp_path / str(per_channel), **options)
        found[per_channel] = sqnr_db(expected, np.stack(predictor(job.samples.inputs)))
    assert found[True] > found[False] + 10


@BOTH
def test_an_own_onnx_file(own_graph, tmp_path, activations, product):
    before = own_graph.source.onnx.read_bytes()
    done, predictor = quantized(own_graph, "onnx-dynamic", tmp_path / "int8", activations=activations)
    assert done.counts == {product: 2}
    assert done.quantized_parameters == done.parameters == 2 * 16 * 4
    items = own_graph.samples.inputs
    expected = [i["left"] @ numbers(16, 4, seed=1) - i["right"] @ numbers(16, 4, seed=2) for i in items]
    assert sqnr_db(np.stack(expected), np.stack(predictor(items))) > 25
    assert own_graph.source.onnx.read_bytes() == before


@BOTH
@pytest.mark.parametrize(
    "options", [{"include_nodes": ["*_x"]}, {"exclude_nodes": ["MatMul_y"]}], ids=["include", "exclude"]
)
def test_patterns_choose_nodes(own_graph, tmp_path, options, activations, product):
    done, _ = quantized(own_graph, "onnx-dynamic", tmp_path / "int8", activations=activations, **options)
    assert done.counts == {product: 1}
    left = [n for n in onnx.load(tmp_path / "int8" / MODEL).graph.node if n.op_type == "MatMul"]
    assert [n.output[0] for n in left] == ["y"]


@BOTH
def test_nodes_without_names_of_their_own_are_quantized(own_graph, tmp_path, activations, product):
    """Even if a generated name is already another node's."""
    model = onnx.load(own_graph.source.onnx)
    model.graph.node[0].name, model.graph.node[1].name = "", "MatMul_1"
    onnx.save(model, own_graph.source.onnx)
    done, predictor = quantized(own_graph, "onnx-dynamic", tmp_path / "int8", activations=activations)
    assert done.counts == {product: 2}
    assert len(predictor(own_graph.samples.inputs)) == 10


def test_an_answer_does_not_depend_on_its_neighbours(own_graph, tmp_path):
    _, predictor = quantized(own_graph, "onnx-dynamic", tmp_path / "int8")
    first, *rest = own_graph.samples.inputs
    loud = [{name: value * 100 for name, value in item.items()} for item in rest]
    np.testing.assert_array_equal(predictor([first, *loud])[0], predictor([first])[0])


def test_weights_can_be_unsigned(own_graph, tmp_path):
    kinds = {}
    for kind in ("int8", "uint8"):
        quantized(own_graph, "onnx-dynamic", tmp_path / kind, activations="per_tensor", weight_type=kind)
        graph = onnx.load(tmp_path / kind / MODEL).graph
        kinds[kind] = {i.data_type for i in graph.initializer if i.name.startswith("a_quantized")}
    assert kinds == {"int8": {onnx.TensorProto.INT8}, "uint8": {onnx.TensorProto.UINT8}}


@BOTH
def test_a_reduced_range_leaves_seven_bits(own_graph, tmp_path, activations, product):
    quantized(own_graph, "onnx-dynamic", tmp_path / "int8", activations=activations, reduce_range=True)
    initializers = onnx.load(tmp_path / "int8" / MODEL).graph.initializer
    weights = [numpy_helper.to_array(i) for i in initializers if i.data_type == onnx.TensorProto.INT8 and i.dims]
    assert 60 < max(np.abs(w.astype(int)).max() for w in weights) <= 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include_ops": ["Conv"]}, "Conv cannot have one scale per token .* set activations: per_tensor"),
        ({"weight_type": "uint8"}, "weight_type uint8 goes with activations: per_tensor"),
    ],
    ids=["operator", "unsigned"],
)
def test_options_that_need_a_scale_a_batch_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OnnxDynamicOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include_ops": ["Conv"], "activations": "per_tensor"}, r"the graph has no Conv .*\(it has 2 MatMul, 1 Sub\)"),
        ({"include_ops": ["Gather"]}, r"the graph has no Gather .*\(it has 2 MatMul, 1 Sub\)"),
        ({"exclude_ops": ["MatMul"]}, "would quantize nothing: the graph has no Gather"),
        ({"exclude_nodes": ["*"]}, "would quantize nothing: the patterns leave none of the 2 nodes"),
        ({"exclude_nodes": ["*"], "activations": "per_tensor"}, "the patterns leave none of the 2 nodes"),
        ({"include_nodes": ["matmul_*"]}, "the pattern 'matmul_\\*' matches no node"),
    ],
    ids=["no-such-operator", "include-ops", "exclude-ops", "exclude-nodes", "exclude-nodes-per-tensor", "no-such-node"],
)
def test_nothing_to_quantize_is_an_error(own_graph, tmp_path, options, message):
    with pytest.raises(QuantbentoError, match=message):
        quantized(own_graph, "onnx-dynamic", tmp_path / "int8", **options)


@pytest.mark.parametrize(
    ("activations", "message"),
    [
        ("per_token", "the graph has no MatMul, Gather with constant weights"),
        ("per_tensor", r"the graph has no MatMul, Gather, .* with constant weights \(it has 1 MatMul\)"),
    ],
)
def test_a_product_of_two_inputs_has_no_weight_to_quantize(tmp_path, activations, message):
    """ONNX Runtime silently leaves it as it is."""
    path = onnx_file(
        tmp_path / "pair.onnx",
        [("MatMul", ["left", "right"], ["y"])],
        {"left": ["batch", 2, 4], "right": ["batch", 4, 2]},
        {"y": ["batch", 2, 2]},
        {},
    )
    job = job_of(path, [{"left": numbers(2, 4), "right": numbers(4, 2)}], tmp_path)
    with pytest.raises(QuantbentoError, match=message):
        quantized(job, "onnx-dynamic", tmp_path / "int8", activations=activations)


def without_a_new_opset(job, opset):
    """The graph in an opset that nothing raises."""
    model = onnx.load(job.source.onnx)
    model.opset_import[0].version = opset
    onnx.save(model, job.source.onnx)
    job.graph = CanonicalGraph(job.source.onnx, "untouched", notes=["it could not be raised"])


@pytest.mark.parametrize(("opset", "product"), [(9, PER_TENSOR), (10, PER_TOKEN), (17, PER_TOKEN), (18, PER_TOKEN)])
def test_an_opset_that_was_not_raised_gets_what_it_allows(own_graph, tmp_path, opset, product):
    without_a_new_opset(own_graph, opset)
    done, predictor = quantized(own_graph, "onnx-dynamic", tmp_path / "int8")
    assert done.counts == {product: 2}
    said = f"one per token needs opset 10, and the graph's {opset} could not be raised"
    assert done.notes[0] == "it could not be raised"
    assert (said in " ".join(done.notes)) == (product == PER_TENSOR)
    items = own_graph.samples.inputs
    expected = [i["left"] @ numbers(16, 4, seed=1) - i["right"] @ numbers(16, 4, seed=2) for i in items]
    assert sqnr_db(np.stack(expected), np.stack(predictor(items))) > 25


@BOTH
@pytest.mark.parametrize("opset", [11, 12])
def test_weights_in_constant_nodes_of_an_old_graph_are_quantized(own_graph, tmp_path, activations, product, opset):
    model = onnx.load(own_graph.source.onnx)
    for weight in list(model.graph.initializer):
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [weight.name], value=weight))
    del model.graph.initializer[:]
    model.opset_import[0].version = opset
    onnx.save(model, own_graph.source.onnx)
    done, predictor = quantized(own_graph, "onnx-dynamic", tmp_path / "int8", activations=activations)
    assert done.counts == {product: 2}
    assert (done.quantized_parameters, done.parameters, done.notes) == (2 * 16 * 4, 2 * 16 * 4, [])
    items = own_graph.samples.inputs
    expected = [i["left"] @ numbers(16, 4, seed=1) - i["right"] @ numbers(16, 4, seed=2) for i in items]
    assert sqnr_db(np.stack(expected), np.stack(predictor(items))) > 25


@BOTH
def test_weights_in_16_bit_are_quantized(own_graph, tmp_path, activations, product):
    model = onnx.load(own_graph.source.onnx)
    for weight in model.graph.initializer:
        half = numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(numpy_helper.from_array(half, weight.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, own_graph.source.onnx)
    job = job_of(own_graph.source.onnx, own_graph.samples.inputs, tmp_path)
    done, predictor = quantized(job, "onnx-dynamic", tmp_path / "int8", activations=activations)
    assert done.counts == {product: 2}
    assert done.quantized_parameters == done.parameters == 2 * 16 * 4
    items = job.samples.inputs
    expected = [i["left"] @ numbers(16, 4, seed=1) - i["right"] @ numbers(16, 4, seed=2) for i in items]
    assert sqnr_db(np.stack(expected), np.stack(predictor(items))) > 25


@BOTH
def test_products_in_a_branch_are_left_and_noted(tmp_path, activations, product):
    """The branch reads a weight of the main graph, which a quantized node reads too."""
    path = onnx_file(
        tmp_path / "own.onnx",
        [("MatMul", ["x", "w"], ["y"])],
        {"x": ["batch", 8]},
        {"z": ["batch", 8]},
        {"w": numbers(8, 8)},
    )
    model = onnx.load(path)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["y", "w"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", kind, ["batch", 8])],
    )
    model.graph.node.extend(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "sum"], ["never"]),
            helper.make_node("If", ["never"], ["z"], then_branch=branch, else_branch=branch),
        ]
    )
    onnx.save(model, path)
    job = job_of(path, list(numbers(6, 8)), tmp_path)
    done, predictor = quantized(job, "onnx-dynamic", tmp_path / "int8", activations=activations)
    assert done.counts == {product: 1}
    assert done.notes == ["left in full precision: 2 MatMul inside an If, Loop or Scan"]
    x = np.stack(job.samples.inputs)
    assert sqnr_db(x @ numbers(8, 8) @ numbers(8, 8), np.stack(predictor(job.samples.inputs))) > 25


def test_bytes_that_were_there_are_not_counted(tmp_path):
    path = onnx_file(
        tmp_path / "own.onnx",
        [("MatMul", ["x", "w"], ["p"]), ("Cast", ["bytes"], ["floats"]), ("Gather", ["bytes", "p_index"], ["q"])],
        {"x": ["batch", 8], "p_index": ["batch"]},
        {"p": ["batch", 4], "q": ["batch", 3]},
        {"w": numbers(8, 4), "bytes": np.ones((50, 3), np.uint8)},
    )
    model = onnx.load(path)
    del model.graph.node[1]
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.INT32
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, path)
    items = [{"x": row, "p_index": np.int32(2)} for row in numbers(4, 8)]
    done, _ = quantized(job_of(path, items, tmp_path), "onnx-dynamic", tmp_path / "int8")
    assert (done.counts, done.quantized_parameters, done.parameters) == ({PER_TOKEN: 1}, 32, 32)


@pytest.mark.parametrize("op", ["Relu", "ConvTranspose", "Gelu"])
def test_operators_that_have_no_dynamic_form_are_refused(op):
    with pytest.raises(ValueError, match=f"{op} cannot be quantized; these can: "):
        OnnxDynamicOptions(include_ops=["MatMul", op], activations="per_tensor")


def test_convolutions_and_recurrent_layers_are_quantized_when_asked_for(tmp_path):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv1d(4, 8, 1)
            self.lstm = nn.LSTM(8, 16, batch_first=True)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.lstm(self.convolution(x).transpose(1, 2))[0][:, -1])

    torch.manual_seed(0)
    job = job_of(Reader(), list(numbers(8, 4, 5)), tmp_path)
    assert quantized(job, "onnx-dynamic", tmp_path / "a")[0].counts == {PER_TOKEN: 1}
    done, _ = quantized(job, "onnx-dynamic", tmp_path / "b", activations="per_tensor")
    assert done.counts == {"DynamicQuantizeLSTM": 1, PER_TENSOR: 1}
    options = {"activations": "per_tensor", "include_ops": ["Conv", "LSTM", "MatMul"]}
    done, predictor = quantized(job, "onnx-dynamic", tmp_path / "c", **options)
    assert done.counts == {"ConvInteger": 1, "DynamicQuantizeLSTM": 1, PER_TENSOR: 1}
    assert fidelity(job, predictor) > 20
