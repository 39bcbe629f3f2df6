"""Experts that no token was routed to are named."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM

from quantbento.quantizers.llm.workers import routed
from tests import tiny_mixtures


def test_experts_that_the_router_never_chooses_are_named():
    model = AutoModelForCausalLM.from_config(tiny_mixtures.config_of("qwen3")).eval()
    unseen = routed.watch()
    with torch.no_grad():
        model.model.layers[1].mlp.gate.weight.zero_()  # all the same: two of four are always chosen
        model(torch.arange(2, 130)[None])
    named = unseen(model)
    assert len([name for name in named if name.startswith("model.layers.1.mlp.experts.")]) == 2
    assert not any(name.startswith("model.layers.0.") for name in named)
    with torch.no_grad():
        model(torch.zeros((1, 4), dtype=torch.int64))  # no longer counted
