"""Which layers are quantized, and what a checkpoint must hold of each: as compressed-tensors says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.making.unjudged.layers import parsed, quantized_layers

W4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
W8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
TOKEN = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


def config(**more):
    groups = {"all": {"targets": ["Linear"], "weights": W4}, "up": {"targets": ["a.up"], "weights": W8}}
    return parsed({"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["head"], **more})


@pytest.fixture
def model() -> nn.Module:
    with torch.device("meta"):
        made = nn.ModuleDict({"a": nn.ModuleDict({"up": nn.Linear(128, 64), "down": nn.Linear(128, 64)})})
        made["head"], made["embed"] = nn.Linear(128, 8), nn.Embedding(8, 128)
    return made


def test_a_target_that_names_a_layer_wins_and_ignored_ones_are_left(model):
    shapes = [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]
    found = {layer.name: (layer.bits, layer.format) for layer in quantized_layers(config(), model, shapes)}
    assert found == {"a.up": (8, "pack-quantized"), "a.down": (4, "pack-quantized")}


def test_matrices_of_experts_without_a_module_count_as_linear(model):
    shapes = [("a.experts.0.w1.weight", (64, 128)), ("a.experts.w", (2, 64, 128)), ("a.norm.weight", (128,))]
    assert [layer.name for layer in quantized_layers(config(), model, shapes)] == ["a.experts.0.w1"]


def test_mixed_formats_follow_from_each_scheme(model):
    groups = {
        "all": {"targets": ["Linear"], "weights": W4},
        "up": {"targets": ["a.up"], "weights": W8, "input_activations": TOKEN},
    }
    mixed = config(config_groups=groups, format="mixed-precision")
    shapes = [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]
    by_name = {layer.name: layer for layer in quantized_layers(mixed, model, shapes)}
    assert by_name["a.up"].format == "int-quantized"
    assert by_name["a.up"].expected(torch.bfloat16) == {
        "weight": (torch.int8, (64, 128)),
        "weight_scale": (torch.bfloat16, (64, 1)),
    }
    assert by_name["a.down"].expected(torch.bfloat16) == {
        "weight_packed": (torch.int32, (64, 16)),
        "weight_scale": (torch.bfloat16, (64, 1)),
        "weight_shape": (torch.int64, (2,)),
    }


def test_a_configuration_that_cannot_be_read_is_told():
    with pytest.raises(QuantbentoError, match="quantization_config cannot be read by compressed-tensors: "):
        parsed({"config_groups": {"all": {"targets": 1}}})
