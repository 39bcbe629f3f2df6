"""Weights in 8 or 4 bits: how many, in groups of which size, and what stays in 8."""

import numpy as np
import pytest
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.openvino.weights import OpenVinoWeights, OpenVinoWeightsOptions
from quantbento.runtimes import artifact
from quantbento.runtimes.openvino import MODEL, engine
from quantbento.tasks.metrics import sqnr_db
from tests.jobs import hidden_states, job_of, numbers, quantized
from tests.quantizers.openvino.fidelity import fidelity


def shapes(folder, *kinds):
    """Shapes of the weights of these types in a file."""
    nodes = engine().Core().read_model(folder / MODEL).get_ops()
    held = [n for n in nodes if n.get_type_name() == "Constant" and n.get_element_type().get_type_name() in kinds]
    return [list(node.shape) for node in held if node.shape and max(node.shape) > 1]


@pytest.mark.parametrize(
    ("options", "least"), [({}, 35), ({"symmetric": True}, 35), ({"bits": 4, "group_size": 16}, 15)]
)
def test_a_transformer_runs_at_any_size(encoder, tmp_path, options, least):
    done, predictor = quantized(encoder, "openvino-weights", tmp_path, **options)
    assert done.counts == {"MatMul": 2 * 6, "Gather": 3}
    assert 0.9 < done.quantized_parameters / done.parameters < 1
    for expected, found in hidden_states(encoder, predictor):
        assert least < sqnr_db(expected, found) < 80


def test_eight_bits_are_closer_than_four(mlp, tmp_path):
    found = {}
    for bits, more in ((8, {}), (4, {"group_size": 16})):
        done, predictor = quantized(mlp, "openvino-weights", tmp_path / str(bits), bits=bits, **more)
        assert done.quantized_parameters == 64 * 32 + 32 * 48 + 48 * 4
        assert artifact.size_bytes(tmp_path / str(bits)) > 0
        found[bits] = fidelity(mlp, predictor)
    assert 100 > found[8] > found[4] + 10 > 20


def test_four_bits_are_smaller(encoder, tmp_path):
    sizes = {}
    for bits, more in ((8, {}), (4, {"group_size": 16})):
        quantized(encoder, "openvino-weights", tmp_path / str(bits), bits=bits, **more)
        sizes[bits] = (tmp_path / str(bits) / "model.bin").stat().st_size
    assert sizes[4] < sizes[8]


@pytest.mark.parametrize(("size", "groups"), [(16, {4, 2}), (32, {2, 1})])
def test_weights_of_a_group_share_a_scale(mlp, tmp_path, size, groups):
    quantized(mlp, "openvino-weights", tmp_path, bits=4, group_size=size)
    grouped = [shape for shape in shapes(tmp_path, "u4") if size in shape]
    assert {count for shape in grouped for count in shape} >= groups - {1}
    assert len(grouped) >= 2


def test_what_stays_in_eight_bits_is_noted(mlp, tmp_path):
    done, _ = quantized(mlp, "openvino-weights", tmp_path, bits=4, group_size=16)
    always = "those of embeddings, of convolutions and of the last product always are"
    assert done.notes == [f"in 8 bits: 1 MatMul; {always}"]
    assert quantized(mlp, "openvino-weights", tmp_path / "8")[0].notes == []


def test_half_of_the_weights_may_stay_in_eight_bits(mlp, tmp_path):
    done, _ = quantized(mlp, "openvino-weights", tmp_path, bits=4, group_size=16, ratio=0.5)
    assert done.counts == {"MatMul": 3}
    assert done.notes[0].startswith("in 8 bits: 2 MatMul")


def test_four_bits_that_no_weight_can_have_are_an_error(tmp_path):
    """NNCF would write 8 bits and say nothing."""
    module = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    job = job_of(module, list(numbers(4, 20)), tmp_path)
    with pytest.raises(QuantbentoError, match=r"no weight could be in 4 bits \(2 MatMul are in 8\): .* set group_size"):
        quantized(job, "openvino-weights", tmp_path / "q", bits=4)
    done, _ = quantized(job, "openvino-weights", tmp_path / "q", bits=4, group_size=10)
    assert done.notes[0].startswith("in 8 bits: 1 MatMul;")


def test_a_group_size_that_does_not_divide_is_an_error_that_names_the_sizes(mlp, tmp_path):
    said = r"^group_size 24 does not divide the inputs of \S+ \(64\), \S+ \(32\); take one that does, or name these in "
    with pytest.raises(QuantbentoError, match=said):
        quantized(mlp, "openvino-weights", tmp_path, bits=4, group_size=24)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"group_size": 32}, "group_size"),
        ({"ratio": 0.5}, "ratio"),
        ({"group_size": 8, "ratio": 1}, "group_size and "),
    ],
)
def test_options_of_four_bits_go_with_four_bits(options, named):
    with pytest.raises(ValueError, match=rf"{named}.* with bits: 4"):
        OpenVinoWeightsOptions(**options)


def test_the_scheme_says_what_is_computed():
    schemes = {
        (bits, group): OpenVinoWeights().scheme_of(OpenVinoWeightsOptions(bits=bits, activation_group_size=group))
        for bits in (8, 4)
        for group in (0, 32)
    }
    assert schemes == {(8, 0): "W8A32", (8, 32): "W8A8", (4, 0): "W4A32", (4, 32): "W4A8"}


def test_activations_stay_floats_when_asked(mlp, tmp_path):
    """What the artifact says reaches the engine."""
    found = {}
    for group in (0, 32):
        done, predictor = quantized(mlp, "openvino-weights", tmp_path / str(group), activation_group_size=group)
        assert done.runtime_config == {"properties": {"DYNAMIC_QUANTIZATION_GROUP_SIZE": group}}
        assert predictor.runtime.compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == group
        found[group] = np.stack(predictor(mlp.samples.inputs))
    assert sqnr_db(found[0], found[32]) > 25


def test_convolutions_are_quantized(network, tmp_path):
    done, predictor = quantized(network, "openvino-weights", tmp_path)
    assert done.counts == {"Convolution": 3, "MatMul": 1}
    assert fidelity(network, predictor) > 30


def test_single_operators_in_eight_bits_beside_others_in_four(mlp, tmp_path):
    quantized(mlp, "openvino-weights", tmp_path / "four", bits=4, group_size=16)
    names = list(OpenVinoWeights().layers(mlp, OpenVinoWeightsOptions(bits=4, group_size=16)))
    more = {"bits": 4, "group_size": 16, "eight_bit_nodes": names[:1]}
    done, _ = quantized(mlp, "openvino-weights", tmp_path / "mixed", **more)
    assert sum(done.counts.values()) == len(names)
    assert len(shapes(tmp_path / "mixed", "u4")) < len(shapes(tmp_path / "four", "u4"))
    assert len(shapes(tmp_path / "mixed", "u8")) >= 1
    with pytest.raises(ValueError, match="eight_bit_nodes goes with bits: 4"):
        OpenVinoWeightsOptions(eight_bit_nodes=["*"])
