"""benchmarks/formulas.py rounds as docs/quantization.md says."""

import numpy as np
import pytest

from benchmarks.formulas import Layer, affine, grouped, smoothed, symmetric
from tests.jobs import numbers

X = numbers(64, 32) + 0.5


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_an_error_is_at_most_half_a_step(bits, axis):
    step = np.abs(X).max(axis=axis, keepdims=True) / (2 ** (bits - 1) - 1)
    error = np.abs(symmetric(X, bits, axis) - X) / step
    assert 0.4 < error.max() <= 0.5001
    low, high = X.min(axis=axis, keepdims=True), X.max(axis=axis, keepdims=True)
    error = np.abs(affine(X, bits, axis) - X) / ((high - low) / (2**bits - 1))
    assert 0.4 < error.max() <= 1.0001  # the zero point is rounded too


def test_groups_are_of_one_output():
    weights = X * np.where(np.arange(64) < 32, 1, 100)[:, None]
    error = np.abs(grouped(weights, 32, 8) - weights)
    assert error[:32].max() < error[32:].max() / 20


def test_smoothing_changes_no_product():
    layer = Layer(numbers(32, 8, seed=1), X * np.where(np.arange(32) == 3, 50, 1))
    other = smoothed(layer, 0.5)
    np.testing.assert_allclose(other.rows @ other.weights, layer.rows @ layer.weights, rtol=1e-3, atol=1e-3)
    assert np.abs(other.rows).max() < np.abs(layer.rows).max() / 5
