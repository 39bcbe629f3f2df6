"""Scaling is really applied: norms and weights differ from round to nearest, and answers are better."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.trained_llama import LOUD, tensors_of

pytestmark = pytest.mark.slow
NORM = "model.layers.0.input_layernorm.weight"
PACKED = "model.layers.0.self_attn.q_proj.weight_packed"


def test_loud_channels_are_scaled_down_before_the_layers_that_read_them(made):
    awq, rtn = made("awq").tensors(), made("rtn").tensors()
    source = tensors_of(made("awq").source)
    assert torch.equal(rtn[NORM], source[NORM])
    assert (awq[NORM][:LOUD] < 0.5 * source[NORM][:LOUD]).all()
    assert not torch.equal(awq[PACKED], rtn[PACKED])


def test_its_error_on_the_calibration_data_is_much_lower_than_round_to_nearests(made):
    assert made("awq").error() < 0.6 * made("rtn").error()


def test_it_is_written_and_counted_as_round_to_nearest_is(made):
    awq, rtn = made("awq"), made("rtn")
    assert awq.config() == rtn.config()
    assert awq.done == replace(rtn.done, peak_memory_bytes=None)
    # AutoRound writes scales in float16, whatever the model's dtype is; rtn writes them in that.
    dtypes = {n: torch.float16 if n.endswith("weight_scale") else t.dtype for n, t in rtn.tensors().items()}
    assert {n: (t.dtype, t.shape) for n, t in awq.tensors().items()} == {
        n: (dtypes[n], t.shape) for n, t in rtn.tensors().items()
    }
    assert {t.dtype for n, t in rtn.tensors().items() if n.endswith("weight_scale")} == {torch.bfloat16}
