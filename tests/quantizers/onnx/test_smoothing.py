"""A smoothed graph computes the same; its activations are easier to round, and most of it costs nothing."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from quantbento.quantizers.onnx.activations import measured
from quantbento.quantizers.onnx.smoothing import smooth
from quantbento.tasks.metrics import sqnr_db
from tests.conftest import labelled_texts
from tests.jobs import job_of, numbers, onnx_file, quantized, text_job

OUTLIERS = np.where(np.arange(16) == 3, 50, 1).astype(np.float32)  # one channel is far larger than the others
X = numbers(40, 16) * OUTLIERS
W, V = numbers(16, 4, seed=1), numbers(16, 6, seed=2)


def run(model, **inputs):
    onnx.checker.check_model(model)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)


def graph(folder, nodes, weights, outputs=("y",)):
    shapes = {name: ["batch", None] for name in outputs}
    return onnx.load(onnx_file(folder / "a.onnx", nodes, {"x": ["batch", 16]}, shapes, weights))


def operators(model):
    return sorted(node.op_type for node in model.graph.node)


def weight(model, node):
    name = next(n.input[1] for n in model.graph.node if n.name == node)
    return next(numpy_helper.to_array(i) for i in model.graph.initializer if i.name == name)


def test_the_factors_follow_the_formula_for_all_that_read_an_activation(tmp_path):
    model = graph(
        tmp_path, [("MatMul", ["x", "w"], ["y"]), ("MatMul", ["x", "v"], ["z"])], {"w": W, "v": V}, ("y", "z")
    )
    before = run(model, x=X)
    smooth(model, ["MatMul_y", "MatMul_z"], 0.7, [{"x": X[:25]}, {"x": X[25:]}])
    for expected, found in zip(before, run(model, x=X), strict=True):
        assert sqnr_db(expected, found) > 100
    heaviest = np.maximum(np.abs(W).max(1), np.abs(V).max(1))
    factors = np.abs(X).max(0) ** 0.7 / heaviest**0.3
    np.testing.assert_allclose(weight(model, "MatMul_y"), W * factors[:, None], rtol=1e-5)
    np.testing.assert_allclose(weight(model, "MatMul_z"), V * factors[:, None], rtol=1e-5)
    assert operators(model) == ["MatMul", "MatMul", "Mul"]
    seen = measured(model, ["MatMul_y"], [{"x": X}])["x/smoothed"].channels
    np.testing.assert_allclose(seen, np.abs(X).max(0) / factors, rtol=1e-5)


NORM = [("LayerNormalization", ["x", "gamma", "beta"], ["h"]), ("MatMul", ["h", "w"], ["y"])]
NORM_WEIGHTS = {"w": W, "gamma": OUTLIERS, "beta": numbers(16, seed=4)}


def test_a_layer_normalisation_takes_the_factors(tmp_path):
    model = graph(tmp_path, NORM, NORM_WEIGHTS)
    before = run(model, x=X)[0]
    smooth(model, ["MatMul_y"], 0.5, [{"x": X}])
    assert operators(model) == ["LayerNormalization", "MatMul"]
    assert sqnr_db(before, run(model, x=X)[0]) > 100
    assert np.ptp(np.abs(weight(model, "LayerNormalization_h"))) < np.ptp(OUTLIERS) / 2


@pytest.mark.parametrize(
    ("more", "weights", "outputs"),
    [
        ([("Add", ["h", "x"], ["z"])], {}, ("y", "z")),  # a residual connection
        ([], {}, ("y", "h")),  # an output
    ],
    ids=["another-reader", "an-output"],
)
def test_what_is_read_elsewhere_is_not_changed_at_its_source(tmp_path, more, weights, outputs):
    model = graph(tmp_path, [*NORM, *more], NORM_WEIGHTS | weights, outputs)
    before = run(model, x=X)
    smooth(model, ["MatMul_y"], 0.5, [{"x": X}])
    assert operators(model).count("Mul") == 1
    for expected, found in zip(before, run(model, x=X), strict=True):
        assert sqnr_db(expected, found) > 100


def test_weights_that_others_read_are_copied(tmp_path):
    nodes = [("MatMul", ["x", "w"], ["y"]), ("Neg", ["x"], ["n"]), ("MatMul", ["n", "w"], ["z"])]
    model = graph(tmp_path, nodes, {"w": W}, ("y", "z"))
    before = run(model, x=X)
    smooth(model, ["MatMul_y"], 0.5, [{"x": X}])
    for expected, found in zip(before, run(model, x=X), strict=True):
        assert sqnr_db(expected, found) > 100


def test_channels_that_are_always_zero_stay_so(tmp_path):
    model = graph(tmp_path, [("MatMul", ["x", "w"], ["y"])], {"w": W})
    x = X * (np.arange(16) != 5)
    before = run(model, x=x)[0]
    smooth(model, ["MatMul_y"], 0.5, [{"x": x}])
    assert sqnr_db(before, run(model, x=x)[0]) > 100


@pytest.fixture(scope="module")
def encoder(tiny_encoder, tmp_path_factory):
    texts = labelled_texts(12, seed=5)[0]
    job = text_job(tiny_encoder, "feature-extraction", texts, tmp_path_factory.mktemp("job"))
    job.calibration = job.task.calibrate([job.task.check(text) for text in texts], None)
    return job


def test_an_encoders_attention_takes_the_factors_of_its_output(encoder):
    model = onnx.load(encoder.canonical_onnx().path)
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"node{place}"
    constants = {i.name for i in model.graph.initializer if len(i.dims) == 2}
    products = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    batch = encoder.calibration[0]
    before = run(model, **batch)[0]
    smooth(model, products, 0.5, encoder.calibration)
    real = batch["attention_mask"].astype(bool)
    assert sqnr_db(before[real], run(model, **batch)[0][real]) > 90
    # Of queries, attention's output, and both halves of the feed-forward network, the second needs no Mul.
    assert sum(n.name.endswith("/smoothed") for n in model.graph.node) == 2 * 3


class Outliers(nn.Module):
    """A network whose hidden channels differ, as a transformer's do."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(16, 64), nn.Linear(64, 8)
        with torch.no_grad():
            self.up.weight[5] *= 40

    def forward(self, x):
        return self.down(nn.functional.gelu(self.up(x)))


def test_calibration_samples_make_onnx_dynamic_more_exact(tmp_path):
    torch.manual_seed(0)
    module = Outliers()
    inputs = list(numbers(64, 16))

    def quality(name, calibration, **options):
        job = job_of(module, inputs, tmp_path)
        job.calibration = calibration
        done, predictor = quantized(job, "onnx-dynamic", tmp_path / name, **options)
        assert done.counts == {"MatMulIntegerToFloat": 2}
        with torch.no_grad():
            return sqnr_db(module(torch.from_numpy(np.stack(inputs))).numpy(), np.stack(predictor(inputs)))

    batches = [{"x": numbers(50, 16, seed=8)}]
    without, off, on = quality("a", None), quality("b", batches, smooth_quant_alpha=None), quality("c", batches)
    assert without < off < on
    assert on > without + 6
