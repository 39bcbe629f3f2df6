"""Activations are measured as they are, over all batches, whatever their sizes."""

import numpy as np
import onnx
import pytest

from quantbento.quantizers.onnx.activations import Activation, measured, zero_point
from tests.jobs import numbers, onnx_file


@pytest.mark.parametrize("opset", [13, 18, 20])
def test_channels_and_rows_of_all_batches(tmp_path, opset):
    shape = ["batch", "tokens", 8]
    path = onnx_file(
        tmp_path / "a.onnx",
        [("Relu", ["x"], ["h"]), ("MatMul", ["h", "w"], ["y"]), ("MatMul", ["x", "w"], ["z"])],
        {"x": shape},
        {"y": ["batch", "tokens", 4], "z": ["batch", "tokens", 4]},
        {"w": numbers(8, 4, seed=1)},
    )
    model = onnx.load(path)
    model.opset_import[0].version = opset
    batches = [{"x": numbers(3, 5, 8)}, {"x": numbers(2, 7, 8, seed=2)}]
    seen = measured(model, ["MatMul_y", "MatMul_z"], batches)
    rows = np.concatenate([batch["x"].reshape(-1, 8) for batch in batches])
    assert list(seen) == ["h", "x"]
    np.testing.assert_array_equal(seen["x"].channels, np.abs(rows).max(0))
    np.testing.assert_array_equal(seen["x"].low, rows.min(1))
    np.testing.assert_array_equal(seen["x"].high, rows.max(1))
    np.testing.assert_array_equal(seen["h"].channels, np.maximum(rows, 0).max(0))
    np.testing.assert_array_equal(seen["h"].low, np.zeros(len(rows)))
    assert len(model.graph.output) == 2, "the graph itself is not changed"


@pytest.mark.parametrize(
    ("low", "high", "point"),
    [(-1, 1, 128), (-0.9, 1.1, 128), (0, 1, 1), (-0.17, 1.53, 26), (-3, 0, 254), (0, 0, 128)],
)
def test_the_zero_point_fits_what_is_below_and_above(low, high, point):
    rows = np.ones(20, np.float32)
    assert zero_point(Activation(rows, low * rows, high * rows)) == pytest.approx(point, abs=1)
