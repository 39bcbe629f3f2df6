"""INT8 weights and activations: what is quantized, how close it stays, and what stays in full precision for that."""

import numpy as np
import pytest

from quantbento.core import machine
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.openvino import graph, static
from quantbento.quantizers.openvino.graph import PRODUCT
from quantbento.quantizers.openvino.static import OpenVinoOptions
from quantbento.runtimes import artifact
from quantbento.runtimes.openvino import MODEL, OpenVinoRuntime, engine, read_onnx
from quantbento.tasks.metrics import sqnr_db
from tests.jobs import hidden_states, quantized
from tests.quantizers.openvino.fidelity import fidelity


def constants(folder, kind):
    nodes = engine().Core().read_model(folder / MODEL).get_ops()
    held = [n for n in nodes if n.get_type_name() == "Constant" and n.get_element_type().get_type_name() == kind]
    return [node.get_data() for node in held]


def test_a_transformer_runs_at_sizes_it_was_not_calibrated_with(encoder, tmp_path):
    done, predictor = quantized(encoder, "openvino", tmp_path)
    # Query, key, value, output, up, down; words, places, types; queries by keys. NNCF leaves what follows a Softmax.
    assert done.counts == {"MatMul": 2 * 6, "Gather": 3, PRODUCT: 2}
    assert 0.9 < done.quantized_parameters / done.parameters < 1
    assert (done.left_out, done.notes) == ([], [])
    for expected, found in hidden_states(encoder, predictor):
        assert sqnr_db(expected, found) > 20


def test_an_answer_does_not_depend_on_its_neighbours(mlp, tmp_path):
    _, predictor = quantized(mlp, "openvino", tmp_path)
    first, *rest = mlp.samples.inputs
    alone = predictor([first])[0]
    np.testing.assert_allclose(predictor([first, *[item * 100 for item in rest]])[0], alone, rtol=1e-5, atol=1e-6)


def test_a_convolutional_network_is_quantized(network, tmp_path):
    done, predictor = quantized(network, "openvino", tmp_path)
    assert done.counts == {"Convolution": 3, "MatMul": 1}
    assert done.quantized_parameters == 8 * 27 + 2 * 8 * 72 + 8 * 4
    assert 30 < fidelity(network, predictor) < 100


def test_it_answers_the_same_when_it_is_loaded_again(network, tmp_path):
    _, predictor = quantized(network, "openvino", tmp_path)
    again = artifact.load(tmp_path, threads=2)
    for one, other in zip(predictor(network.samples.inputs), again(network.samples.inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_smooth_quant_moves_into_the_weights_of_transformers(encoder, tmp_path):
    files = {}
    for alpha in (None, 0.75):
        quantized(encoder, "openvino", tmp_path / str(alpha), smooth_quant_alpha=alpha)
        files[alpha] = [weights.tobytes() for weights in constants(tmp_path / str(alpha), "i8")]
    assert files[None] != files[0.75]


def test_smooth_quant_without_attention_is_noted(network, tmp_path):
    done, _ = quantized(network, "openvino", tmp_path, smooth_quant_alpha=0.5)
    assert done.notes == ["smooth_quant_alpha had no effect: the graph has no attention; see model_type"]


def test_smooth_quant_is_for_transformers():
    with pytest.raises(ValueError, match="smooth_quant_alpha goes with model_type: transformer"):
        OpenVinoOptions(model_type="other", smooth_quant_alpha=0.5)
    assert OpenVinoOptions(model_type="other").smooth_quant_alpha
    assert OpenVinoOptions(model_type="other", smooth_quant_alpha=None)


def test_a_reduced_range_leaves_seven_bits(mlp, tmp_path):
    largest = {}
    for reduced in (True, False):
        quantized(mlp, "openvino", tmp_path / str(reduced), reduce_range=reduced)
        largest[reduced] = max(np.abs(w.astype(int)).max() for w in constants(tmp_path / str(reduced), "i8"))
    assert 60 < largest[True] <= 64
    assert largest[False] > 120


@pytest.mark.parametrize("reduced", [True, False])
def test_a_cpu_that_saturates_is_warned_of(mlp, tmp_path, monkeypatch, caplog, reduced):
    monkeypatch.setattr(machine, "_cpu", lambda: ("an old CPU", {"avx2"}))
    quantized(mlp, "openvino", tmp_path, reduce_range=reduced)
    assert ("set reduce_range: true" in caplog.text) is not reduced


def test_other_ways_to_correct_and_to_scale_run(network, tmp_path):
    for name, options in {"slow": {"fast_bias_correction": False}, "symmetric": {"preset": "performance"}}.items():
        done, predictor = quantized(network, "openvino", tmp_path / name, **options)
        assert done.counts == {"Convolution": 3, "MatMul": 1}
        assert fidelity(network, predictor) > 25


def test_as_many_operators_are_quantized_as_the_outputs_allow(network, tmp_path):
    plain, predictor = quantized(network, "openvino", tmp_path / "plain")
    before = fidelity(network, predictor)
    done, predictor = quantized(network, "openvino", tmp_path / "close", min_sqnr_db=before + 6)
    assert fidelity(network, predictor) >= before + 5  # the same samples, in other batches
    assert 1 <= len(done.left_out) < 4
    assert sum(done.counts.values()) == 4 - len(done.left_out)
    assert done.quantized_parameters < plain.quantized_parameters
    again, _ = quantized(network, "openvino", tmp_path / "again", exclude_nodes=done.left_out)
    assert (again.counts, again.left_out) == (done.counts, [])


def test_outputs_that_are_close_enough_leave_nothing_out(mlp, tmp_path, monkeypatch):
    made = []
    real = static.StaticQuantization.without
    monkeypatch.setattr(static.StaticQuantization, "without", lambda self, left: made.append(left) or real(self, left))
    done, _ = quantized(mlp, "openvino", tmp_path, min_sqnr_db=10)
    assert (done.counts, done.left_out) == ({"MatMul": 3}, [])
    assert made == [[]]


def test_operators_that_are_left_out_anyway_are_not_tried(mlp, tmp_path):
    names = quantized(mlp, "openvino", tmp_path / "close", min_sqnr_db=44)[0].left_out
    assert 1 <= len(names) < 3
    done, _ = quantized(mlp, "openvino", tmp_path / "given", min_sqnr_db=44, exclude_nodes=names)
    assert (done.counts, done.left_out) == ({"MatMul": 3 - len(names)}, [])


def test_sums_whose_inputs_are_rounded_are_tried_too(own_graph, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(static, "harmful", lambda quality, nodes, least, advance: tried.extend(nodes) or [])
    quantized(own_graph, "openvino", tmp_path / "int8", min_sqnr_db=10)
    kinds = graph.operators(read_onnx(own_graph.source.onnx))
    assert sorted(kinds[name] for name in tried) == ["MatMul", "MatMul", "Subtract"]


def test_nothing_left_to_quantize_is_an_error(own_graph, tmp_path, monkeypatch):
    monkeypatch.setattr(static, "harmful", lambda quality, nodes, least, advance: nodes)
    with pytest.raises(QuantbentoError, match="min_sqnr_db 30 leaves nothing quantized; take less, or open"):
        quantized(own_graph, "openvino", tmp_path / "int8", min_sqnr_db=30)


def test_outputs_that_no_operator_allows_are_an_error(mlp, tmp_path):
    with pytest.raises(QuantbentoError, match=r"min_sqnr_db 150 cannot be reached: with .* alone quantized, there are"):
        quantized(mlp, "openvino", tmp_path, min_sqnr_db=150)


def test_what_the_task_makes_of_the_outputs_counts_not_outputs_for_padding(encoder, tmp_path):
    _, predictor = quantized(encoder, "openvino", tmp_path / "int8")
    folder = tmp_path / "float"
    folder.mkdir()
    encoder.complete(folder, OpenVinoRuntime, OpenVinoRuntime.write_reference(encoder, folder, "float32"))
    full = artifact.load(folder, threads=1)
    expected = sqnr_db(*(p.rows(encoder.samples.inputs)["embedding"] for p in (full, predictor)))
    quantization = static.StaticQuantization(
        read_onnx(encoder.onnx()), encoder.calibration, OpenVinoOptions(), transformer=True
    )
    found = quantization.quality(quantization.without([]), encoder.task, tmp_path)
    assert found == pytest.approx(expected, abs=0.5)


def test_few_samples_rank_operators_and_all_decide(network, tmp_path, monkeypatch):
    used, real = [], static.StaticQuantization.quality
    monkeypatch.setattr(static, "TO_RANK", 1)
    monkeypatch.setattr(
        static.StaticQuantization, "quality", lambda self, *more: used.append(len(self.batches)) or real(self, *more)
    )
    [batch] = network.calibration
    halves = [{name: values[part] for name, values in batch.items()} for part in (slice(12), slice(12, None))]
    monkeypatch.setattr(network, "calibration", halves)
    assert quantized(network, "openvino", tmp_path, min_sqnr_db=45)[0].left_out
    assert used[0] == 2
    assert used[1:5] == [1] * 4
    assert 2 in used[5:]
