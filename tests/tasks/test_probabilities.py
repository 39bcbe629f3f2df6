"""Softmax and sigmoid are SciPy's, also where an exponential would overflow."""

import warnings

import numpy as np
import pytest
from scipy import special

from quantbento.tasks.probabilities import sigmoid, softmax

LOGITS = np.array([[-1000, 0.5, 1000], [1, 2, 3], [-90, -91, -92]])


@pytest.mark.parametrize(("ours", "theirs"), [(sigmoid, special.expit), (lambda x: softmax(x), special.softmax)])
def test_probabilities(ours, theirs):
    expected = theirs(LOGITS) if ours is sigmoid else theirs(LOGITS, axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ours(LOGITS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)
