"""Tensors get the source's names back, and the configuration lists what is in 16 bit."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from quantbento.inputs.checkpoint import CheckpointFacts, tensors
from quantbento.quantizers.llm.written import finish

BLOCK, MODULES = "model.layers.0.block_sparse_moe", "model.layers.0.mlp"
FACTS = CheckpointFacts(
    None,
    {f"{BLOCK}.experts.0.{name}": (8, 8) for name in ("w1", "w2", "w3")},
    192,
    modules={
        f"{BLOCK}.experts.0.w1": f"{MODULES}.experts.0.gate_proj",
        f"{BLOCK}.experts.0.w2": f"{MODULES}.experts.0.down_proj",
        f"{BLOCK}.experts.0.w3": f"{MODULES}.experts.0.up_proj",
        f"{BLOCK}.gate": f"{MODULES}.gate",
    },
    routers=[f"{BLOCK}.gate"],
)


@pytest.mark.parametrize("parent", [BLOCK, MODULES], ids=["as libraries write it", "as Transformers names it"])
def test_experts_have_the_names_of_the_source(tmp_path, parent):
    names = {"gate_proj": 1.0, "down_proj": 2.0, "up_proj": 3.0}
    save_file(
        {f"{parent}.experts.0.{n}.weight_packed": torch.full((8,), v) for n, v in names.items()}
        | {"model.norm.weight": torch.zeros(8)},
        tmp_path / "model.safetensors",
    )
    places = {name: "model.safetensors" for name in tensors(tmp_path)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    config = {"quantization_config": {"quant_method": "compressed-tensors", "ignore": []}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    finish(tmp_path, FACTS, [f"{BLOCK}.gate"])
    written = {f"{BLOCK}.experts.0.w{i}.weight_packed" for i in (1, 2, 3)} | {"model.norm.weight"}
    assert set(tensors(tmp_path)) == written
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == written
    from safetensors.torch import load_file

    held = load_file(tmp_path / "model.safetensors")
    assert [held[f"{BLOCK}.experts.0.w{i}.weight_packed"][0].item() for i in (1, 2, 3)] == [1.0, 2.0, 3.0]
    ignored = json.loads((tmp_path / "config.json").read_text())["quantization_config"]["ignore"]
    assert ignored == [f"{BLOCK}.gate", f"{MODULES}.gate"]
