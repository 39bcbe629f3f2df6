"""Graphs come out with integer operators where asked, at any batch and length, and never unquantized in silence."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from quantbento.errors import QuantbentoError
from quantbento.metrics import sqnr_db
from quantbento.runtimes.onnx import MODEL
from tests.conftest import labelled_texts
from tests.jobs import job_of, numbers, onnx_file, quantized, text_job

HALVES = {"left": ["batch", 16], "right": ["batch", 16]}


@pytest.fixture(scope="module")
def encoder(tiny_encoder, tmp_path_factory):
    """A job for the tiny encoder; what is exported for one test serves the next."""
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


def test_an_encoder_runs_at_sizes_it_was_not_exported_with(encoder, tmp_path):
    done, predictor = quantized(encoder, "onnx-dynamic", tmp_path)
    assert done.counts["MatMulInteger"] == 2 * 6  # a layer: query, key, value, output, up, down
    assert done.counts["Gather"] == 3  # words, positions, token types
    assert 0.9 < done.quantized_parameters / done.parameters < 1
    for batch, length in [(1, 3), (1, 30), (2, 4), (7, 17)]:
        inputs = encoder.task.collate([encoder.task.encode("good " * (length - 2))] * batch)
        hidden = predictor.runtime.run(inputs)["last_hidden_state"]
        with torch.no_grad():
            expected = encoder.source.module(**{n: torch.from_numpy(v) for n, v in inputs.items()})
        assert hidden.shape == (batch, length, 32)
        assert sqnr_db(expected.last_hidden_state.numpy(), hidden) > 20


def test_operators_can_be_left_out(encoder, tmp_path):
    done, _ = quantized(encoder, "onnx-dynamic", tmp_path, exclude_ops=["Gather"])
    assert done.counts == {"MatMulInteger": 12}
    done, _ = quantized(encoder, "onnx-dynamic", tmp_path, include_ops=["Gather"])
    assert done.counts == {"Gather": 3}


def test_an_mlp_of_gemm_alone_is_quantized(mlp, tmp_path):
    done, predictor = quantized(mlp, "onnx-dynamic", tmp_path)
    assert done.counts == {"MatMulInteger": 2}
    assert (done.quantized_parameters, done.parameters) == (16 * 32 + 32 * 4, 16 * 32 + 32 + 32 * 4 + 4)
    assert "Gemm" not in operators(tmp_path)
    assert 25 < fidelity(mlp, predictor) < 100


def test_a_weight_that_two_layers_share_is_quantized_once(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(16, 16)

        def forward(self, x):
            return self.linear(torch.tanh(self.linear(x)))

    torch.manual_seed(0)
    job = job_of(Twice(), list(numbers(20, 16)), tmp_path)
    done, predictor = quantized(job, "onnx-dynamic", tmp_path / "int8")
    assert done.counts == {"MatMulInteger": 2}
    assert done.quantized_parameters == 16 * 16
    assert fidelity(job, predictor) > 25


def test_per_channel_weights_are_closer_where_channels_are_uneven(tmp_path):
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
    by_scheme = {}
    for per_channel in (True, False):
        _, predictor = quantized(job, "onnx-dynamic", tmp_path / str(per_channel), per_channel=per_channel)
        by_scheme[per_channel] = sqnr_db(expected, np.stack(predictor(job.samples.inputs)))
    assert by_scheme[True] > by_scheme[False] + 10


def test_an_own_onnx_file(own_graph, tmp_path):
    before = own_graph.source.onnx.read_bytes()
    done, predictor = quantized(own_graph, "onnx-dynamic", tmp_path / "int8")
    assert done.counts == {"MatMulInteger": 2}
    assert done.quantized_parameters == done.parameters == 2 * 16 * 4
    items = own_graph.samples.inputs
    expected = [i["left"] @ numbers(16, 4, seed=1) - i["right"] @ numbers(16, 4, seed=2) for i in items]
    assert sqnr_db(np.stack(expected), np.stack(predictor(items))) > 25
    assert own_graph.source.onnx.read_bytes() == before


@pytest.mark.parametrize(
    "options", [{"include_nodes": ["*_x"]}, {"exclude_nodes": ["MatMul_y"]}], ids=["include", "exclude"]
)
def test_patterns_choose_nodes(own_graph, tmp_path, options):
    done, _ = quantized(own_graph, "onnx-dynamic", tmp_path / "int8", **options)
    assert done.counts == {"MatMulInteger": 1}
    left = [n for n in onnx.load(tmp_path / "int8" / MODEL).graph.node if n.op_type == "MatMul"]
    assert [n.output[0] for n in left] == ["y"]


def test_weights_can_be_unsigned(own_graph, tmp_path):
    kinds = {}
    for weight_type in ("int8", "uint8"):
        quantized(own_graph, "onnx-dynamic", tmp_path / weight_type, weight_type=weight_type)
        graph = onnx.load(tmp_path / weight_type / MODEL).graph
        kinds[weight_type] = {i.data_type for i in graph.initializer if i.name.startswith("a_quantized")}
    assert kinds == {"int8": {onnx.TensorProto.INT8}, "uint8": {onnx.TensorProto.UINT8}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include_ops": ["Conv"]}, r"the graph has no Conv \(it has MatMul, Sub\)"),
        ({"exclude_ops": ["MatMul"]}, "would quantize nothing: the graph has no Gather"),
        ({"exclude_nodes": ["*"]}, "would quantize nothing: the patterns leave none of the 2 nodes"),
        ({"include_nodes": ["matmul_*"]}, "the pattern 'matmul_\\*' matches no node"),
    ],
    ids=["include-ops", "exclude-ops", "exclude-nodes", "no-such-node"],
)
def test_nothing_to_quantize_is_an_error(own_graph, tmp_path, options, message):
    with pytest.raises(QuantbentoError, match=message):
        quantized(own_graph, "onnx-dynamic", tmp_path / "int8", **options)


def test_a_graph_that_is_passed_over_is_an_error(tmp_path):
    """A product of two inputs has no weight: ONNX Runtime leaves it as it is and says nothing."""
    path = onnx_file(
        tmp_path / "pair.onnx",
        [("MatMul", ["left", "right"], ["y"])],
        {"left": ["batch", 2, 4], "right": ["batch", 4, 2]},
        {"y": ["batch", 2, 2]},
        {},
    )
    job = job_of(path, [{"left": numbers(2, 4), "right": numbers(4, 2)}], tmp_path)
    with pytest.raises(QuantbentoError, match="quantized nothing: the graph has no integer operator afterwards"):
        quantized(job, "onnx-dynamic", tmp_path / "int8")


def test_convolutions_are_quantized_when_asked_for(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    job = job_of(module, list(numbers(8, 1, 6, 6)), tmp_path)
    assert quantized(job, "onnx-dynamic", tmp_path / "a")[0].counts == {"MatMulInteger": 1}
    done, predictor = quantized(job, "onnx-dynamic", tmp_path / "b", include_ops=["Conv", "MatMul"])
    assert done.counts == {"ConvInteger": 1, "MatMulInteger": 1}
    assert fidelity(job, predictor) > 25
