"""Layers are rounded in the file that holds them; nothing else of the checkpoint changes."""

from __future__ import annotations

import torch
from safetensors.torch import load_file, save_file

from quantbento.quantizers.llm.in_place import round_layers


def halved(weight):
    return {"weight": (weight / 2).to(torch.int8), "weight_scale": torch.full((len(weight), 1), 2.0)}


def test_layers_are_replaced_and_their_weights_are_counted(tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"up.weight": torch.full((2, 3), 4.0), "up.bias": torch.ones(2), "norm.weight": torch.ones(3)}, first)
    save_file({"head.weight": torch.ones(2, 2)}, second)
    before = second.read_bytes()
    assert round_layers(tmp_path, ["up", "gone"], halved) == {"up": 6}
    found = load_file(first)
    assert found.keys() == {"up.weight", "up.weight_scale", "up.bias", "norm.weight"}
    assert found["up.weight"].tolist() == [[2, 2, 2], [2, 2, 2]] and found["up.weight"].dtype == torch.int8
    assert second.read_bytes() == before
