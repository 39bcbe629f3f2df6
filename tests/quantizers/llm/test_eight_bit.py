"""Layers in 8 bit beside those in 4: as compressed-tensors reads them, and named alike where vLLM runs them as one."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.quantizers.llm import eight_bit
from quantbento.quantizers.llm.autoround_base import Int4Options
from quantbento.quantizers.llm.streaming.rounding import rounding
from tests.trained_llama import tensors_of

GATE_UP = "model.layers.0.mlp.[gu]*_proj"
NAMES = ["model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"]


def test_a_weight_is_within_half_a_step_of_what_it_was():
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    weight[3] = 0
    whole, scale = rounding(eight_bit.SCHEME, -1)(weight).values()
    assert (whole.dtype, scale.dtype, scale.shape) == (torch.int8, torch.bfloat16, (16, 1))
    off = (whole.float() * scale.float() - weight.float()).abs() / scale.float()
    assert off.max() < 0.7  # half a step, and what rounding the scale to bfloat16 cuts off the largest
    assert whole[3].abs().max() == 0


@pytest.mark.slow
def test_the_checkpoint_has_both(made):
    mixed = made("rtn", eight_bit=[GATE_UP])
    config, after = mixed.config(), mixed.tensors()
    assert mixed.done.counts == {"W4A16 layers": 12, "W8A8 layers": 2}
    assert config["format"] == "mixed-precision" and config["ignore"] == ["lm_head"]
    assert sorted(config["config_groups"]["w8a8"]["targets"]) == NAMES
    before = tensors_of(mixed.source)
    for name in NAMES:
        found = after[f"{name}.weight"].float() * after[f"{name}.weight_scale"].float()
        expected = before[f"{name}.weight"].float()
        assert 30 < 10 * torch.log10(expected.square().sum() / (found - expected).square().sum()) < 50
    assert "model.layers.0.mlp.down_proj.weight_packed" in after
    assert made("rtn").done.weight_ratio < mixed.done.weight_ratio < 0.5


@pytest.mark.slow
def test_it_is_nearer_to_the_source(made):
    assert made("rtn", eight_bit=["model.layers.[0-9]*.mlp.*"]).error() < made("rtn").error()


@pytest.mark.parametrize("quantizer", ["rtn", "gptq"])
def test_layers_that_run_as_one_are_named_together(quantizer, tmp_path):
    method = registry.quantizer(quantizer)()
    linears = dict.fromkeys([*NAMES, "model.layers.0.mlp.down_proj", "lm_head"], (128, 128))
    facts = CheckpointFacts(tmp_path, linears, 10)
    assert method.preflight(facts, method.Options(eight_bit=[GATE_UP])) == []
    (told,) = method.preflight(facts, method.Options(eight_bit=[NAMES[0]]))
    assert f"names '{NAMES[0]}' alone" in told and repr(GATE_UP) in told
    (told,) = method.preflight(facts, method.Options(eight_bit=["*"]))
    assert "leaves no layer in 4 bit" in told
    (told,) = method.preflight(facts, method.Options(eight_bit=["*.none"]))
    assert "matches no linear layer" in told


def test_other_formats_have_one_width_for_all():
    with pytest.raises(ValidationError, match="eight_bit goes with format 'compressed-tensors'"):
        Int4Options(format="gptq", eight_bit=["*"])


def test_a_layer_that_is_quantized_already_is_refused(tmp_path):
    config = {"quantization_config": {"quant_method": "compressed-tensors", "ignore": [], "config_groups": {}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"a.weight_packed": torch.zeros(2, dtype=torch.int32)}, tmp_path / "model.safetensors")
    with pytest.raises(QuantbentoError, match="not in 16 bit in the checkpoint: a"):
        eight_bit.add(tmp_path, ["a"])


def test_what_a_weight_takes_with_its_scale():
    rtn, smoothquant = registry.quantizer("rtn")(), registry.quantizer("smoothquant")()
    assert rtn.weight_bits(rtn.Options()) == {4: 4 + 16 / 128, 8: 8 + 16 / 256}
    assert rtn.weight_bits(rtn.Options(scheme="W4A16_ASYM", group_size=32))[4] == 4 + 20 / 32
    assert list(smoothquant.weight_bits(smoothquant.Options())) == [8]
