"""bitsandbytes checkpoints are counted, small, leave ignored layers alone, and answer like the source."""

from __future__ import annotations

import pytest
import torch

from quantbento.runtimes import artifact
from tests.trained_llama import tensors_of

pytestmark = pytest.mark.slow
RATIO = {"bnb-nf4": (0.25, 0.27), "bnb-int8": (0.5, 0.51)}
KEPT = ["lm_head", "*.1.mlp.down_proj"]


@pytest.mark.parametrize("quantizer", RATIO)
def test_layers_are_counted_and_small(made, quantizer):
    done = made(quantizer).done
    assert list(done.counts.values()) == [14]
    assert done.left_out == []
    low, high = RATIO[quantizer]
    assert low < done.weight_ratio < high


def test_scales_are_quantized_too_unless_told_otherwise(made):
    once = made("bnb-nf4", double_quantization=False, ignore=KEPT)
    assert once.done.weight_ratio > made("bnb-nf4").done.weight_ratio + 0.01
    assert once.config()["bnb_4bit_use_double_quant"] is False


def test_what_is_ignored_stays_as_it_was(made):
    once = made("bnb-nf4", double_quantization=False, ignore=KEPT)
    before, after = tensors_of(once.source), once.tensors()
    assert once.done.counts == {"NF4 layers": 13}
    for name in ("lm_head.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"):
        assert torch.equal(before[name], after[name])


def test_options_reach_the_configuration(made):
    nf4, int8 = made("bnb-nf4").config(), made("bnb-int8").config()
    assert (nf4["bnb_4bit_quant_type"], nf4["bnb_4bit_compute_dtype"]) == ("nf4", "bfloat16")  # the source's dtype
    assert (int8["load_in_8bit"], int8["llm_int8_threshold"]) == (True, 6.0)


@pytest.mark.parametrize(("quantizer", "least", "most"), [("bnb-nf4", 0.002, 0.1), ("bnb-int8", 0.0, 0.01)])
def test_the_artifact_answers_like_the_source_and_not_the_same(made, quantizer, least, most):
    assert least < made(quantizer).error() < most
    generator = artifact.load(made(quantizer).folder, threads=1)
    assert generator.runtime.name == "transformers"
    assert generator(["def __init__("])[0]["tokens_generated"] > 0
