"""FP8 without calibration: weights are the nearest FP8 numbers to the source's, times their scale."""

from __future__ import annotations

import pytest
import torch

from quantbento.core import registry
from tests.trained_llama import tensors_of

LAYER = "model.layers.1.mlp.up_proj"
STEP = 2**-4  # half a unit in the last place of 3 bits of mantissa, relative


def test_it_needs_no_samples():
    fp8 = registry.quantizer("fp8")()
    assert fp8.needs(fp8.Options()) is None
    assert fp8.scheme_of(fp8.Options(scheme="FP8_BLOCK")) == "FP8_BLOCK"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["FP8_DYNAMIC", "FP8_BLOCK"])
def test_weights_are_the_nearest_numbers(made, scheme):
    fp8 = made("fp8", scheme=scheme)
    tensors, source = fp8.tensors(), tensors_of(fp8.source)[f"{LAYER}.weight"].float()
    weight, scale = tensors[f"{LAYER}.weight"], tensors[f"{LAYER}.weight_scale"].float()
    assert weight.dtype == torch.float8_e4m3fn
    if scheme == "FP8_BLOCK":
        scale = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
    off = (weight.float() * scale - source).abs()
    smallest = scale * 2**-9  # of FP8 numbers
    assert bool((off <= STEP * source.abs() * 1.02 + smallest).all())
    assert fp8.done.counts == {f"{scheme} layers": 14}
    assert 1e-7 < fp8.error() < 0.05
