"""The quantizer around the worker that `tests/quantizers/llm/workers/test_llm_compressor.py` tests."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_layers_are_counted_and_half_as_large(made):
    done = made("smoothquant").done
    assert done.counts == {"W8A8 layers": 14}
    assert done.left_out == []
    assert 0.5 < done.weight_ratio < 0.52


def test_it_answers_nearly_like_the_source(made):
    assert made("smoothquant").error() < 0.1 * made("rtn").error()


def test_activations_are_int8_too(made):
    group = made("smoothquant").config()["config_groups"]["group_0"]
    assert group["weights"]["num_bits"] == group["input_activations"]["num_bits"] == 8
