"""Every linear layer has the name and the shape that it has in the checkpoint; experts are layers of their own."""

from __future__ import annotations

import pytest

from quantbento.inputs import checkpoint
from quantbento.inputs.layers import experts_of
from tests import tiny_mixtures

ATTENTION, EXPERT = 4, 3  # linear layers
ROUTERS = {"mixtral": 2, "qwen3": 2, "qwen2": 4}
SHARED = {"qwen2": 3}


@pytest.mark.parametrize("kind", ["mixtral", "qwen3", "qwen2"])
def test_each_expert_is_in_the_checkpoint_by_its_name_and_shape(kind, tmp_path):
    facts = checkpoint.inspect(tiny_mixtures.write(kind, tmp_path))
    held = {name: tuple(shape) for name, (_, shape) in checkpoint.tensors(tmp_path).items()}
    assert {name: held.get(f"{name}.weight") for name in facts.linears} == facts.linears
    per_layer = ATTENTION + EXPERT * tiny_mixtures.EXPERTS + SHARED.get(kind, 0)
    assert len(facts.linears) == 2 * per_layer + 1
    assert {len(layers) for layers in experts_of(facts.linears).values()} == {EXPERT * tiny_mixtures.EXPERTS}
    assert len(facts.routers) == ROUTERS[kind] and all(f"{name}.weight" in held for name in facts.routers)
    assert not set(facts.routers) & set(facts.linears)
    matrices = sum(out * inputs for out, inputs in facts.linears.values())
    assert matrices < facts.parameters < 1.3 * matrices


def test_experts_in_one_tensor_are_counted_one_by_one(tmp_path):
    facts = checkpoint.inspect(tiny_mixtures.write("gpt-oss", tmp_path))
    assert len(facts.linears) == 2 * (ATTENTION + EXPERT * tiny_mixtures.EXPERTS) + 1
    assert facts.linears["model.layers.0.mlp.experts.3.gate_proj"] == (96, 64)
    assert facts.linears["model.layers.1.mlp.experts.0.down_proj"] == (64, 96)
    assert facts.routers == ["model.layers.0.mlp.router", "model.layers.1.mlp.router"]


def test_names_in_transformers_are_known_where_they_differ(tmp_path):
    facts = checkpoint.inspect(tiny_mixtures.write("mixtral", tmp_path))
    layer = "model.layers.1.block_sparse_moe.experts.2.w3"
    assert facts.modules[layer] == "model.layers.1.mlp.experts.2.up_proj"
    assert facts.modules["model.layers.0.block_sparse_moe.gate"] == "model.layers.0.mlp.gate"
    assert "model.layers.0.self_attn.q_proj" not in facts.modules


def test_what_is_not_the_language_model_is_told_apart(tmp_path):
    facts = checkpoint.inspect(tiny_mixtures.write("llava", tmp_path))
    held = checkpoint.tensors(tmp_path)
    assert all(f"{name}.weight" in held for name in facts.linears)
    assert {name.split(".")[0] for name in facts.vision} == {"vision_tower", "multi_modal_projector"}
    assert len(facts.vision) == 2 * 6 + 2
    assert facts.head == "language_model.lm_head"
