"""Which layers are quantized, and what a checkpoint must hold of each: as compressed-tensors says."""

from __future__ import annotations

import pytest
import torch

from quantbento.core.errors import QuantbentoError
from quantbento.making.unjudged.layers import parsed, quantized_layers

W4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
W8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
TOKEN = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


def config(**more):
    groups = {"all": {"targets": ["Linear"], "weights": W4}, "up": {"targets": ["a.up"], "weights": W8}}
    return parsed({"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["head"], **more})


LINEARS = {"a.up": (64, 128), "a.down": (64, 128), "head": (8, 128)}


def test_a_target_that_names_a_layer_wins_and_ignored_ones_are_left():
    found = {layer.name: (layer.bits, layer.format) for layer in quantized_layers(config(), LINEARS)}
    assert found == {"a.up": (8, "pack-quantized"), "a.down": (4, "pack-quantized")}


def test_mixed_formats_follow_from_each_scheme():
    groups = {
        "all": {"targets": ["Linear"], "weights": W4},
        "up": {"targets": ["a.up"], "weights": W8, "input_activations": TOKEN},
    }
    mixed = config(config_groups=groups, format="mixed-precision")
    by_name = {layer.name: layer for layer in quantized_layers(mixed, LINEARS)}
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
