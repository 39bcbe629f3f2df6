"""A checkpoint is cut at its layers, and what its files hold is known without reading weights."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import INDEX
from quantbento.quantizers.llm.streaming.parts import Stored, parts, shard_names, stored


def matrix(name: str, rows: int = 10) -> Stored:
    return Stored(name, "model.safetensors", "BF16", (rows, 50))  # 1000 bytes by default


def names(made: list) -> list[list[str]]:
    return [[tensor.name for tensor in part] for part in made]


LAYERS = [matrix(f"model.layers.{i}.{n}.weight") for i in range(3) for n in ("a", "b")]


def test_a_part_is_a_layer_and_small_layers_share_one():
    assert names(parts(LAYERS, small=1, large=10_000)) == names([LAYERS[:2], LAYERS[2:4], LAYERS[4:]])
    assert names(parts(LAYERS, small=2001, large=10_000)) == names([LAYERS[:4], LAYERS[4:]])
    assert names(parts(LAYERS, small=10**6, large=10**7)) == names([LAYERS])


def test_a_layer_that_is_too_large_is_cut():
    assert names(parts(LAYERS, small=1, large=1500)) == names([[tensor] for tensor in LAYERS])
    assert len(parts([matrix("model.embed_tokens.weight", rows=1000)], small=1, large=1500)) == 1


def test_one_shard_has_the_name_of_a_whole_checkpoint():
    assert shard_names(1) == ["model.safetensors"]
    assert shard_names(3)[1] == "model-00002-of-00003.safetensors"


def test_files_are_read_by_the_index_and_layers_sorted_as_numbers(tmp_path):
    weight = torch.zeros(2, 2, dtype=torch.bfloat16)
    save_file({"model.layers.10.a.weight": weight, "lm_head.weight": weight.clone()}, tmp_path / "one.safetensors")
    save_file({"model.layers.9.a.weight": weight}, tmp_path / "two.safetensors")
    save_file({"other": weight}, tmp_path / "consolidated.safetensors")  # the same weights in another project's format
    places = {"model.layers.10.a.weight": "one.safetensors", "model.layers.9.a.weight": "two.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    found = stored(tmp_path)
    assert [t.name for t in found] == ["lm_head.weight", "model.layers.9.a.weight", "model.layers.10.a.weight"]
    assert found[1] == Stored("model.layers.9.a.weight", "two.safetensors", "BF16", (2, 2)) and found[1].bytes == 8
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(QuantbentoError, match=r"lacks two\.safetensors"):
        stored(tmp_path)


def test_a_damaged_file_and_other_formats_are_one_line(tmp_path):
    with pytest.raises(QuantbentoError, match=r"has neither model\.safetensors nor .*save_pretrained"):
        stored(tmp_path)
    save_file({"a": torch.zeros(100)}, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-7])
    with pytest.raises(QuantbentoError, match="bytes instead of"):
        stored(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(QuantbentoError, match="no safetensors file, or damaged"):
        stored(tmp_path)
