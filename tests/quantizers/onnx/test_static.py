"""Convolutions become INT8 with ranges measured on calibration samples, as integer operators that really run."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.onnx.static import OnnxStaticOptions
from quantbento.runtimes.onnx import MODEL
from quantbento.tasks.metrics import sqnr_db
from tests.jobs import job_of, numbers, onnx_file, quantized


class Net(nn.Module):
    """Two convolutions with batch normalisation, and a classifier."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(72, 4)

    def forward(self, image):
        return self.head(self.second(self.first(image)))


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    net = Net()
    net(torch.randn(64, 1, 8, 8))  # batch normalisation learns what the data are like
    images = numbers(40, 1, 8, 8)
    job = job_of(net, list(images), tmp_path)
    job.calibration = [{"image": images[:16]}, {"image": images[16:]}]
    return job


def quality(job, predictor):
    inputs = job.samples.inputs
    with torch.no_grad():
        expected = job.source.module(torch.from_numpy(np.stack(inputs))).numpy()
    return sqnr_db(expected, np.stack(predictor(inputs)))


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_a_convolutional_network_computes_in_integers(job, tmp_path, method):
    done, predictor = quantized(job, "onnx-static", tmp_path / "q", calibration_method=method)
    assert {"QLinearConv": 2}.items() <= done.counts.items()
    assert sum(done.counts.values()) == 3
    assert done.quantized_parameters == 8 * 9 + 8 * 72 + 72 * 4
    assert "BatchNormalization" not in {n.op_type for n in onnx.load(tmp_path / "q" / MODEL).graph.node}
    assert quality(job, predictor) > 20


def test_an_entropy_leaves_outliers_out_and_all_that_was_seen_does_not(job, tmp_path):
    """One pixel in a thousand is fifty times as large."""
    pixels = job.calibration[0]["image"]
    pixels.reshape(-1)[::1000] *= 50
    scales = {}
    for method in ("minmax", "entropy", "percentile"):
        options = {"percentile": 99.0} if method == "percentile" else {}
        quantized(job, "onnx-static", tmp_path / method, calibration_method=method, **options)
        graph = onnx.load(tmp_path / method / MODEL).graph
        weights = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
        [of_input] = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "image"]
        scales[method] = float(weights[of_input.input[1]])
    assert scales["entropy"] < scales["minmax"] / 2
    assert scales["percentile"] < scales["minmax"] / 2


def test_ranges_are_measured_once(job, tmp_path, monkeypatch):
    from quantbento.quantizers.onnx import qdq

    quantized(job, "onnx-static", tmp_path / "first")
    [kept] = (tmp_path / "cache" / "calibration").iterdir()
    monkeypatch.setattr(qdq, "_Reader", None)  # a second measurement would need it
    done, _ = quantized(job, "onnx-static", tmp_path / "second", per_channel=False)
    assert done.counts
    job.calibration = [{"image": numbers(16, 1, 8, 8, seed=9)}]
    with pytest.raises(QuantbentoError, match="could not quantize the graph: TypeError"):
        quantized(job, "onnx-static", tmp_path / "third")
    assert list((tmp_path / "cache" / "calibration").iterdir()) == [kept]


def test_the_most_harmful_nodes_stay_in_full_precision(job, tmp_path):
    _, everything = quantized(job, "onnx-static", tmp_path / "all")
    least = quality(job, everything) + 3
    done, predictor = quantized(job, "onnx-static", tmp_path / "some", min_sqnr_db=least)
    assert 0 < len(done.left_out) < 3
    assert sum(done.counts.values()) == 3 - len(done.left_out)
    assert quality(job, predictor) > least
    with pytest.raises(QuantbentoError, match="min_sqnr_db 150 cannot be reached: with "):
        quantized(job, "onnx-static", tmp_path / "none", min_sqnr_db=150)


def test_options_reach_the_graph(job, tmp_path):
    _, asymmetric = quantized(job, "onnx-static", tmp_path / "a")
    _, symmetric = quantized(job, "onnx-static", tmp_path / "b", activation_type="int8", symmetric_activations=True)
    _, narrow = quantized(job, "onnx-static", tmp_path / "c", reduce_range=True)
    zero_points = [i for i in onnx.load(tmp_path / "b" / MODEL).graph.initializer if "zero_point" in i.name]
    assert zero_points
    assert not any(onnx.numpy_helper.to_array(i).any() for i in zero_points)
    assert quality(job, asymmetric) > quality(job, narrow)
    assert symmetric is not None


def test_nodes_are_chosen_by_type_and_name(job, tmp_path):
    done, _ = quantized(job, "onnx-static", tmp_path / "a", include_ops=["Conv"])
    assert done.counts == {"QLinearConv": 2}
    with pytest.raises(QuantbentoError, match="'nothing\\*' matches no node"):
        quantized(job, "onnx-static", tmp_path / "b", exclude_nodes=["nothing*"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"include_ops": ["LSTM"]}, "LSTM cannot be quantized; these can: 'Conv', 'MatMul' or 'Gemm'"),
        ({"percentile": 99.0}, "percentile goes with calibration_method: percentile"),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(ValueError, match=said):
        OnnxStaticOptions(**options)


def test_a_graph_without_weights_is_refused(tmp_path):
    path = onnx_file(tmp_path / "a.onnx", [("Relu", ["x"], ["y"])], {"x": ["batch", 4]}, {"y": ["batch", 4]}, {})
    with pytest.raises(QuantbentoError, match="onnx-static would quantize nothing: the graph has no Conv, MatMul"):
        quantized(job_of(path, list(numbers(4, 4)), tmp_path), "onnx-static", tmp_path / "q")
