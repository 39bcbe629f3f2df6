"""Tuning really happens: weights are not just rounded to nearest, and answers are better."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from quantbento.quantizers.llm.autoround import AutoRoundOptions
from tests.trained_llama import check_scheme, tensors_of

FEW = {"iterations": 10}
NORM = "model.layers.0.input_layernorm.weight"
PACKED = "model.layers.0.self_attn.q_proj.weight_packed"


@pytest.mark.slow
def test_weights_are_rounded_otherwise_and_norms_stay(made):
    tuned, rtn = made("autoround", **FEW).tensors(), made("rtn").tensors()
    assert not torch.equal(tuned[PACKED], rtn[PACKED])
    assert torch.equal(tuned[NORM], tensors_of(made("rtn").source)[NORM])


@pytest.mark.slow
def test_its_error_on_the_calibration_data_is_lower_than_round_to_nearests(made):
    assert made("autoround", **FEW).error() < 0.8 * made("rtn").error()


@pytest.mark.slow
def test_it_is_written_and_counted_as_round_to_nearest_is(made):
    tuned, rtn = made("autoround", **FEW), made("rtn")
    assert tuned.config() == rtn.config()
    assert tuned.done == replace(rtn.done, peak_memory_bytes=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "ratio", "least", "most"),
    [
        ("W8A16", 0.51, 1e-7, 0.01),
        ("FP8_BLOCK", 0.5, 1e-7, 0.01),
        ("NVFP4", 0.29, 1e-4, 0.1),
        ("MXFP4", 0.27, 1e-4, 0.3),
    ],
)
def test_other_schemes_are_counted_small_and_near_the_source(made, scheme, ratio, least, most):
    check_scheme(made("autoround", scheme=scheme, **FEW), scheme, ratio, least, most)


def test_without_iterations_it_would_be_round_to_nearest():
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        AutoRoundOptions(iterations=0)
