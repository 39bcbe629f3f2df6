"""Weights become 8 or 4 bits in blocks, as many as were asked for, and the graph still answers at any size."""

import numpy as np
import onnx
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.onnx.weights import OnnxWeights, OnnxWeightsOptions
from quantbento.runtimes.onnx import MODEL
from tests.conftest import labelled_texts
from tests.jobs import job_of, numbers, onnx_file, quantized, text_job


@pytest.fixture(scope="module")
def encoder(tiny_encoder, tmp_path_factory):
    return text_job(tiny_encoder, "feature-extraction", labelled_texts(4, seed=5)[0], tmp_path_factory.mktemp("job"))


@pytest.fixture
def product(tmp_path):
    """A MatMul with weights of (48, 6)."""
    path = onnx_file(
        tmp_path / "own.onnx",
        [("MatMul", ["x", "w"], ["y"])],
        {"x": ["batch", 48]},
        {"y": ["batch", 6]},
        {"w": numbers(48, 6, seed=1)},
    )
    return job_of(path, list(numbers(10, 48, seed=3)), tmp_path)


def nodes(folder):
    return {n.op_type: {a.name: a.i for a in n.attribute} for n in onnx.load(folder / MODEL).graph.node}


@pytest.mark.parametrize(("bits", "least"), [(8, 0.999), (4, 0.97)])
def test_an_encoder_keeps_its_embeddings(encoder, tmp_path, bits, least):
    done, predictor = quantized(encoder, "onnx-weights", tmp_path, bits=bits)
    assert done.counts == {"MatMulNBits": 2 * 6, "Gather": 3}
    assert 0.9 < done.quantized_parameters / done.parameters < 1
    texts = ["good", "a good and a longer text", *encoder.samples.inputs]
    alone = np.stack([predictor([text])[0] for text in texts])
    together = np.stack(predictor(texts))
    np.testing.assert_allclose(alone, together, atol=1e-5)
    encoder.source.module.eval()
    float32, _ = reference(encoder, tmp_path, texts)
    cosine = (float32 * together).sum(1) / np.linalg.norm(float32, axis=1) / np.linalg.norm(together, axis=1)
    assert cosine.mean() > least


def reference(job, folder, texts):
    from quantbento.runtimes import artifact
    from quantbento.runtimes.onnx import OnnxRuntime

    plain = folder / "plain"
    plain.mkdir()
    job.complete(plain, OnnxRuntime, OnnxRuntime.write_reference(job, plain, "float32"))
    loaded = artifact.load(plain, 1)
    return np.stack(loaded(texts)), loaded


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("bits", "most"), [(8, 1 / 127), (4, 1 / 7)])
def test_a_weight_is_off_by_half_a_step_of_its_block(product, tmp_path, bits, most, symmetric):
    """Computed in float32, an output is off by what its weights are off by."""
    options = {"bits": bits, "block_size": 16, "accuracy_level": 1, "symmetric": symmetric}
    done, predictor = quantized(product, "onnx-weights", tmp_path / "q", **options)
    assert done.counts == {"MatMulNBits": 1}
    assert done.quantized_parameters == done.parameters == 48 * 6
    w = numbers(48, 6, seed=1)
    columns = np.stack(predictor(list(np.eye(48, dtype=np.float32))))  # the weights as they are multiplied
    blocks = np.abs(w).reshape(3, 16, 6).max(1).repeat(16, axis=0)
    assert (np.abs(columns - w) <= blocks * most * 1.01).all()
    assert np.abs(columns - w).max() > 0


def test_the_scheme_says_what_is_multiplied(product, tmp_path):
    from quantbento.quantizers.onnx.weights import OnnxWeights

    schemes = {
        OnnxWeights().scheme_of(OnnxWeightsOptions(bits=bits, accuracy_level=level))
        for bits in (8, 4)
        for level in (4, 1)
    }
    assert schemes == {"W8A8", "W8A32", "W4A8", "W4A32"}
    quantized(product, "onnx-weights", tmp_path / "q", bits=4, block_size=16, accuracy_level=1)
    assert nodes(tmp_path / "q")["MatMulNBits"] == {
        "K": 48,
        "N": 6,
        "bits": 4,
        "block_size": 16,
        "accuracy_level": 1,
    }


def test_nodes_can_be_left_out(encoder, tmp_path):
    done, _ = quantized(encoder, "onnx-weights", tmp_path, include_ops=["MatMul"])
    assert done.counts == {"MatMulNBits": 12}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block_size": 20}, "block_size 20 is not possible; allowed: 16, 32, 64, 128, 256"),
        ({"include_ops": ["Conv"]}, "Conv cannot be quantized; these can: MatMul, Gather, Gemm"),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(ValueError, match=said):
        OnnxWeightsOptions(**options)


def test_a_graph_without_products_is_refused(tmp_path):
    path = onnx_file(tmp_path / "a.onnx", [("Relu", ["x"], ["y"])], {"x": ["batch", 4]}, {"y": ["batch", 4]}, {})
    with pytest.raises(QuantbentoError, match="onnx-weights would quantize nothing: the graph has no MatMul, Gather"):
        quantized(job_of(path, list(numbers(4, 4)), tmp_path), "onnx-weights", tmp_path / "q")


def test_single_nodes_in_eight_bits_beside_others_in_four(tmp_path):
    weights = {name: numbers(64, 64, seed=seed) / 8 for seed, name in enumerate("abc")}
    nodes = [("MatMul", ["x", "a"], ["p"]), ("MatMul", ["p", "b"], ["q"]), ("MatMul", ["q", "c"], ["y"])]
    shape = {"x": ["batch", 64]}
    path = onnx_file(tmp_path / "three.onnx", nodes, shape, {"y": ["batch", 64]}, weights)
    job = job_of(path, [{"x": row} for row in numbers(4, 64, seed=9)], tmp_path)
    found = {}
    for name, raised in {"four": [], "mixed": ["MatMul_q"], "eight": ["*"]}.items():
        done, _ = quantized(job, "onnx-weights", tmp_path / name, bits=4, eight_bit_nodes=raised)
        assert done.counts == {"MatMulNBits": 3} and done.quantized_parameters == 3 * 64 * 64
        graph = onnx.load(tmp_path / name / MODEL).graph
        bits = [{a.name: a.i for a in node.attribute}["bits"] for node in graph.node if node.op_type == "MatMulNBits"]
        found[name] = bits
    assert found == {"four": [4, 4, 4], "mixed": [4, 8, 4], "eight": [8, 8, 8]}
    with pytest.raises(ValueError, match="eight_bit_nodes goes with bits: 4"):
        OnnxWeightsOptions(eight_bit_nodes=["*"])


def test_what_a_weight_takes_with_its_scale():
    method = OnnxWeights()
    assert method.weight_bits(OnnxWeightsOptions()) == {8: 8 + (32 + 8) / 32}
    assert method.weight_bits(OnnxWeightsOptions(bits=4, symmetric=True)) == {4: 5.0, 8: 9.0}
