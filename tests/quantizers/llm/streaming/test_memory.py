"""The estimate counts bytes as they are written, and the largest part."""

from __future__ import annotations

import pytest
import torch

from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.quantizers.llm.streaming.memory import BASE, estimate, peak_bytes, written_bytes
from quantbento.quantizers.llm.streaming.parts import Stored
from quantbento.quantizers.llm.streaming.rounding import SCHEMES, rounding


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("rows", "inputs", "group_size"), [(128, 256, 64), (100, 384, -1)])
def test_bytes_are_those_of_what_is_written(scheme, rows, inputs, group_size):
    parts = rounding(scheme, group_size)(torch.ones(rows, inputs, dtype=torch.bfloat16))
    shape = 16 if "weight_packed" in parts else 0
    written = sum(tensor.numel() * tensor.element_size() for tensor in parts.values()) + shape
    assert written_bytes(scheme, group_size, (rows, inputs)) == written


def test_the_largest_part_decides():
    layers = [[Stored(f"layers.{i}.a.weight", "f", "BF16", (8192, 8192))] for i in range(40)]
    table = [Stored("embed.weight", "f", "BF16", (128_000, 8192))]
    schemes = {f"layers.{i}.a": "W4A16" for i in range(40)}
    one, all_of_them = (peak_bytes(made, schemes, 128, 2) for made in ([layers[0]], layers))
    assert one == all_of_them  # not more with more layers
    assert BASE + 134e6 * 1.25 < one < BASE + 134e6 * 1.6
    assert peak_bytes([table, *layers], schemes, 128, 2) == BASE + table[0].bytes


def test_before_the_weights_are_fetched_the_configuration_is_enough(tmp_path):
    linears = {f"layers.{i}.a": (8192, 8192) for i in range(10)}
    facts = CheckpointFacts(tmp_path, linears, 0)
    assert BASE + 130e6 < estimate(facts, dict.fromkeys(linears, "W4A16"), 128) < BASE + 400e6
