"""Round to nearest, in each format that vLLM reads: weights are within one step of the source's."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from quantbento.quantizers.llm.autoround_base import Int4Options
from quantbento.quantizers.llm.rtn import Rtn, RtnOptions
from tests.trained_llama import tensors_of

LAYER = "model.layers.1.mlp.up_proj"
KEPT = ["lm_head", "*.0.self_attn.*"]
COMPRESSED = {}
GPTQ = {"format": "gptq", "group_size": 64, "ignore": KEPT}
AWQ = {"format": "awq", "scheme": "W4A16_ASYM", "ignore": KEPT}
FORMATS = pytest.mark.parametrize("options", [COMPRESSED, GPTQ, AWQ], ids=["compressed-tensors", "gptq", "awq"])
IN_ORDER, INTERLEAVED = range(8), (0, 4, 1, 5, 2, 6, 3, 7)


def unpacked(words: torch.Tensor, order=IN_ORDER) -> torch.Tensor:
    """The eight 4-bit numbers of each 32-bit word, (..., n) to (..., n, 8)."""
    return torch.stack([(words >> (4 * place)) & 15 for place in order], -1)


def steps_off(options: dict, tensors: dict, weight: torch.Tensor) -> torch.Tensor:
    """How far each weight of the layer is from the source's, in steps of its group."""
    part = {name.removeprefix(f"{LAYER}."): t for name, t in tensors.items() if name.startswith(f"{LAYER}.")}
    group = options.get("group_size", 128)
    if options is COMPRESSED:
        levels, scale = unpacked(part["weight_packed"]).flatten(1) - 8, part["weight_scale"].repeat_interleave(group, 1)
        return levels - weight / scale.float()
    scale = part["scales"].repeat_interleave(group, 0).float()
    if options is GPTQ:
        assert {7} == set(unpacked(part["qzeros"]).flatten().tolist())  # stored one less than it is
        levels = unpacked(part["qweight"]).transpose(1, 2).flatten(0, 1) - 8
    else:
        zeros = unpacked(part["qzeros"], INTERLEAVED).flatten(1).repeat_interleave(group, 0)
        levels = unpacked(part["qweight"], INTERLEAVED).flatten(1) - zeros
    return levels - weight.T / scale


@pytest.mark.slow
@FORMATS
def test_weights_are_within_a_step_of_the_sources(made, options):
    rtn = made("rtn", **options)
    off = steps_off(options, rtn.tensors(), tensors_of(rtn.source)[f"{LAYER}.weight"].float()).abs()
    symmetric = rtn.done.counts.keys() == {"W4A16 layers"}
    assert off.mean() < 0.3  # 0.25 if they are spread evenly
    assert off.max() <= (1.01 if symmetric else 0.51)  # symmetric: there is -8 but no +8


@pytest.mark.slow
@FORMATS
def test_the_checkpoint_says_what_it_is(made, options):
    config = made("rtn", **options).config()
    assert config["quant_method"] == options.get("format", "compressed-tensors")
    if options is COMPRESSED:
        weights = config["config_groups"]["group_0"]["weights"]
        assert (weights["num_bits"], weights["group_size"], weights["symmetric"]) == (4, 128, True)
    else:
        assert config["bits"] == 4
        assert (config["group_size"], config["sym"]) == ((64, True) if options is GPTQ else (128, False))
        assert "modules_in_block_to_quantize" not in config  # would mislead vLLM


@pytest.mark.slow
@FORMATS
def test_layers_are_counted_and_small(made, options):
    done = made("rtn", **options).done
    kept = options.get("ignore") == KEPT
    assert done.counts == {f"{options.get('scheme', 'W4A16')} layers": 10 if kept else 14}
    assert done.quantized_parameters == 983_040 if kept else 1_179_648
    assert done.left_out == []
    assert 0.25 < done.weight_ratio <= 0.30


@pytest.mark.slow
@FORMATS
def test_what_is_ignored_stays_as_it_was_in_the_sources_dtype(made, options):
    rtn = made("rtn", **options)
    before, after = tensors_of(rtn.source), rtn.tensors()
    kept = {name for name in after if name in before}
    assert {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"} <= kept
    assert ("model.layers.0.self_attn.q_proj.weight" in kept) == ("ignore" in options)
    assert {after[name].dtype for name in kept} == {torch.bfloat16}
    assert all(torch.equal(after[name], before[name]) for name in kept)


@pytest.mark.slow
def test_it_answers_like_the_source_and_not_the_same(made):
    assert 0.005 < made("rtn").error() < 0.1


def test_gptqs_format_is_symmetric():
    with pytest.raises(ValidationError, match="format 'gptq' is served symmetric only"):
        Int4Options(format="gptq", scheme="W4A16_ASYM")


def test_the_scheme_is_the_options():
    assert Rtn().scheme_of(RtnOptions()) == "W4A16"
    assert Rtn().scheme_of(RtnOptions(scheme="W4A16_ASYM")) == "W4A16_ASYM"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["FP8_DYNAMIC", "FP8_BLOCK"])
def test_fp8_weights_are_the_nearest_numbers(made, scheme):
    rtn = made("rtn", scheme=scheme)
    tensors, source = rtn.tensors(), tensors_of(rtn.source)[f"{LAYER}.weight"].float()
    weight, scale = tensors[f"{LAYER}.weight"], tensors[f"{LAYER}.weight_scale"].float()
    assert weight.dtype == torch.float8_e4m3fn
    if scheme == "FP8_BLOCK":
        scale = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
    off = (weight.float() * scale - source).abs()
    half_a_place, smallest = 2**-4, scale * 2**-9  # of 3 bits of mantissa, relative; of FP8 numbers
    assert bool((off <= half_a_place * source.abs() * 1.02 + smallest).all())
    assert rtn.done.counts == {f"{scheme} layers": 14}
    assert 1e-7 < rtn.error() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "share"), [("W8A16", 0.1), ("W8A8", 0.2)])  # W8A8 rounds activations too
def test_8_bit_is_nearer_to_the_source_than_4(made, scheme, share):
    rtn = made("rtn", scheme=scheme)
    assert rtn.done.counts == {f"{scheme} layers": 14}
    assert rtn.error() < share * made("rtn").error()


def test_only_int4_goes_with_other_formats():
    with pytest.raises(ValidationError, match="format 'awq' has 4-bit integers; FP8_DYNAMIC needs compressed-tensors"):
        RtnOptions(format="awq", scheme="FP8_DYNAMIC")
