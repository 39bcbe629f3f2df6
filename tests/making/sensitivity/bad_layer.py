"""Models in which one layer loses everything in few bits: each of its rows has one weight that is far larger than the
others, for an input that is always 0. In full precision that weight changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WIDTH, LAYERS, BAD = 32, 4, 2
HUGE = 500.0


def model():
    import torch
    from torch import nn

    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.ReLU()) for _ in range(LAYERS)
            )
            self.head = nn.Linear(WIDTH, 8, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    torch.manual_seed(0)
    made = Blocks()
    with torch.no_grad():
        made.blocks[BAD - 1][0].weight[0] = 0
        made.blocks[BAD][0].weight[:, 0] = HUGE
    return made


def samples() -> list[np.ndarray]:
    return list(np.random.default_rng(0).normal(size=(24, WIDTH)).astype(np.float32))


def calibration() -> list[np.ndarray]:
    return list(np.random.default_rng(1).normal(size=(24, WIDTH)).astype(np.float32))


def recipe(variants: list[dict], calibrated: bool) -> dict:
    here = "tests.making.sensitivity.bad_layer"
    return {
        "schema_version": 1,
        "name": "bad",
        "task": "tensor",
        "model": {"factory": f"{here}:model"},
        "evaluation": {"factory": f"{here}:samples"},
        "benchmark": {"threads": 1},
        "variants": variants,
    } | ({"calibration": {"factory": f"{here}:calibration"}} if calibrated else {})


def spoil_llama(source: Path, target: Path) -> Path:
    """A Llama's folder, with the down projection of its second block spoilt."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        made.model.layers[1].mlp.up_proj.weight[::WIDTH] = 0
        made.model.layers[1].mlp.down_proj.weight[:, ::WIDTH] = HUGE
    made.save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    return target
