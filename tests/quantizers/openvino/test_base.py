"""Operators are left out by name and by type, and a graph is never silently unquantized."""

import numpy as np
import onnx
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.onnx import MODEL
from tests.jobs import job_of, numbers, onnx_file, quantized
from tests.quantizers.openvino.conftest import calibrated

BOTH = pytest.mark.parametrize("quantizer", ["openvino", "openvino-weights"])


@BOTH
def test_operators_can_be_left_out_by_type(encoder, tmp_path, quantizer):
    done, _ = quantized(encoder, quantizer, tmp_path, exclude_ops=["Gath*"])
    assert "Gather" not in done.counts
    assert done.counts["MatMul"] == 12


@BOTH
def test_operators_can_be_left_out_by_name(own_graph, tmp_path, quantizer):
    done, predictor = quantized(
        own_graph, quantizer, tmp_path / "int8", exclude_nodes=["MatMul_x"], exclude_ops=["Sub*"]
    )
    assert done.counts == {"MatMul": 1}
    assert (done.quantized_parameters, done.parameters) == (64, 128)
    left = {"left": numbers(16), "right": np.zeros(16, np.float32)}
    np.testing.assert_allclose(predictor([left])[0], numbers(16) @ numbers(16, 4, seed=1), rtol=1e-4, atol=1e-4)


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude_ops": ["Matmul"]}, "the pattern 'Matmul' matches no operator type; did you mean 'MatMul'?"),
        ({"exclude_nodes": ["dense*"]}, "the pattern 'dense*' matches no operator (for example "),
        (
            {"exclude_ops": ["MatMul"]},
            "quantize nothing: exclude_nodes and exclude_ops leave none (the graph has 2 Mat",
        ),
        (
            {"exclude_nodes": ["*"]},
            "quantize nothing: exclude_nodes and exclude_ops leave none (the graph has 2 MatMul",
        ),
    ],
    ids=["type", "name", "all-of-a-type", "all"],
)
def test_patterns_that_leave_nothing_or_match_nothing_are_said(own_graph, tmp_path, quantizer, options, message):
    with pytest.raises(QuantbentoError) as raised:
        quantized(own_graph, quantizer, tmp_path / "int8", **options)
    assert message in str(raised.value)


@BOTH
def test_a_graph_without_weights_is_said(tmp_path, quantizer):
    path = onnx_file(tmp_path / "a.onnx", [("Relu", ["x"], ["y"])], {"x": ["batch", 4]}, {"y": ["batch", 4]}, {})
    job = calibrated(job_of(path, list(numbers(4, 4)), tmp_path))
    with pytest.raises(QuantbentoError, match=f"^{quantizer} would quantize nothing: .* NNCF quantizes .*1 Relu"):
        quantized(job, quantizer, tmp_path / "int8")


@BOTH
def test_a_quantized_graph_is_refused(own_graph, tmp_path, quantizer):
    quantized(own_graph, "onnx-dynamic", tmp_path / "first")
    own_graph.source.onnx = tmp_path / "first" / MODEL
    with pytest.raises(QuantbentoError, match=r"the graph is quantized already .* name the full-precision model"):
        quantized(own_graph, quantizer, tmp_path / "int8")


@BOTH
def test_weights_in_16_bit_are_quantized(own_graph, tmp_path, quantizer):
    model = onnx.load(own_graph.source.onnx)
    for weight in model.graph.initializer:
        half = onnx.numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(onnx.numpy_helper.from_array(half, weight.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, own_graph.source.onnx)
    job = calibrated(job_of(own_graph.source.onnx, own_graph.samples.inputs, tmp_path))
    done, predictor = quantized(job, quantizer, tmp_path / "int8")
    assert done.counts == {"MatMul": 2}
    assert (done.quantized_parameters, done.parameters) == (128, 128)
    assert len(predictor(job.samples.inputs)) == 20


@BOTH
def test_the_source_stays_as_it_is(own_graph, tmp_path, quantizer):
    before = own_graph.source.onnx.read_bytes()
    quantized(own_graph, quantizer, tmp_path / "int8")
    assert own_graph.source.onnx.read_bytes() == before
