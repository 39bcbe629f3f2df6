"""The quantizer around the worker that `tests/quantizers/llm/workers/test_llm_compressor.py` tests."""

from __future__ import annotations

import pytest

from quantbento.quantizers.llm.gptq import Gptq, GptqOptions


@pytest.mark.slow
def test_layers_are_counted_and_small(made):
    done = made("gptq").done
    assert done.counts == {"W4A16 layers": 14}
    assert done.left_out == []
    assert 0.25 < done.weight_ratio <= 0.30


@pytest.mark.slow
def test_its_error_on_the_calibration_data_is_lower_than_round_to_nearests(made):
    assert made("gptq").error() < 0.5 * made("rtn").error()


@pytest.mark.slow
def test_the_checkpoint_says_what_it_is(made):
    config = made("gptq").config()
    assert config["quant_method"] == "compressed-tensors"
    assert config["ignore"] == ["lm_head"]


def test_the_scheme_is_the_options():
    assert Gptq().scheme_of(GptqOptions(scheme="W4A16_ASYM")) == "W4A16_ASYM"
