"""A LiteRT file is fed and answered by name, item by item, in floats whatever it computes in."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes.litert import MODEL, LiteRtRuntime, items
from tests import litert_files
from tests.jobs import numbers
from tests.litert_files import Tensor

WEIGHTS = numbers(4, 8)


@pytest.fixture
def runtime(tmp_path):
    litert_files.linear(tmp_path / MODEL, WEIGHTS)
    return LiteRtRuntime.load(tmp_path, {"outputs": {"product": 0, "sum": 0}}, threads=1)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_inputs_and_outputs_go_by_name_at_any_batch(runtime, count):
    y, x = numbers(count, 4, seed=1), numbers(count, 8, seed=2)
    found = runtime.run({"y": y, "x": x})
    assert list(found) == ["product", "sum"]
    np.testing.assert_allclose(found["product"], x @ WEIGHTS.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["sum"], x @ WEIGHTS.T + y, rtol=1e-5, atol=1e-5)


def test_an_input_without_a_batch_goes_with_each_item(tmp_path):
    tensors = [Tensor("x", shape=(1, 3)), Tensor("shared", shape=(3,)), Tensor("sum", shape=(1, 3))]
    litert_files.write(tmp_path / MODEL, tensors, [("ADD", ["x", "shared"], ["sum"])], ["x", "shared"], ["sum"])
    runtime = LiteRtRuntime.load(tmp_path, {"outputs": {"sum": 0}}, threads=1)
    x, shared = numbers(5, 3), numbers(3, seed=1)
    np.testing.assert_allclose(runtime.run({"x": x, "shared": shared})["sum"], x + shared, rtol=1e-6)


def test_the_batch_may_stand_elsewhere_than_first(tmp_path):
    tensors = [Tensor(name, shape=(3, 1)) for name in ("x", "y", "sum")]
    litert_files.write(tmp_path / MODEL, tensors, [("ADD", ["x", "y"], ["sum"])], ["x", "y"], ["sum"])
    runtime = LiteRtRuntime.load(tmp_path, {"outputs": {"sum": 1}}, threads=1)
    x, y = numbers(3, 5), numbers(3, 5, seed=1)
    np.testing.assert_allclose(runtime.run({"x": x, "y": y})["sum"], x + y, rtol=1e-6)


def test_inputs_that_the_file_does_not_have_are_left_out(runtime):
    batch = {"x": numbers(2, 8), "y": numbers(2, 4)}
    np.testing.assert_array_equal(runtime.run(batch | {"unused": numbers(2, 9)})["sum"], runtime.run(batch)["sum"])


def test_integers_stand_for_floats_on_both_sides(tmp_path):
    litert_files.linear_int8(tmp_path / MODEL, WEIGHTS, x=(0.02, -3), y=(0.1, 7))
    runtime = LiteRtRuntime.load(tmp_path, {"outputs": {"y": 0}}, threads=1)
    x = numbers(20, 8, seed=3)
    found = runtime.run({"x": x})["y"]
    assert found.dtype == np.float32
    seen = np.clip(np.round(x / 0.02) - 3, -128, 127) + 3
    np.testing.assert_allclose(found, seen * 0.02 @ WEIGHTS.T, atol=0.15)
    np.testing.assert_allclose(found / 0.1, np.round(found / 0.1), atol=1e-4)


def test_values_out_of_the_files_range_are_cut_not_turned_over(tmp_path):
    litert_files.linear_int8(tmp_path / MODEL, np.eye(8, dtype=np.float32), x=(0.01, 0), y=(0.01, 0))
    runtime = LiteRtRuntime.load(tmp_path, {"outputs": {"y": 0}}, threads=1)
    found = runtime.run({"x": np.array([[100, -100, 1, 0, 0, 0, 0, 0]], np.float32)})["y"]
    np.testing.assert_allclose(found[0, :3], [1.27, -1.28, 1.0], atol=0.011)


def test_integers_that_the_file_cannot_hold_are_an_error(tmp_path):
    tensors = [Tensor(name, "int32", (1, 2)) for name in ("ids", "more", "sum")]
    litert_files.write(tmp_path / MODEL, tensors, [("ADD", ["ids", "more"], ["sum"])], ["ids", "more"], ["sum"])
    runtime = LiteRtRuntime.load(tmp_path, {"outputs": {"sum": 0}}, threads=1)
    ids = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(runtime.run({"ids": ids, "more": ids})["sum"], ids * 2)
    with pytest.raises(InvalidInput, match="'ids' is int32 in the LiteRT file, which does not hold 2500000000"):
        runtime.run({"ids": ids * 1_250_000_000, "more": ids})


@pytest.mark.parametrize("shape", [(2, 9), (8,), (1, 8, 1)], ids=str)
def test_another_shape_than_the_files_is_an_error(runtime, shape):
    with pytest.raises(QuantbentoError, match=r"takes 'x' in the shape \(1, 8\), not"):
        runtime.run({"x": numbers(*shape), "y": numbers(2, 4)})


def test_a_file_of_several_items_takes_the_whole_batch():
    batch = {"x": numbers(3, 4)}
    assert list(items(batch, {"x": (3, 4)})) == [batch]
    with pytest.raises(QuantbentoError, match="not"):
        list(items({"x": numbers(6, 4)}, {"x": (3, 4)}))


def test_callers_at_once_get_their_own_answers(runtime):
    batches = [{"x": numbers(3, 8, seed=i), "y": numbers(3, 4, seed=i)} for i in range(100)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runtime.run, batches))
    for batch, answer in zip(batches, found, strict=True):
        np.testing.assert_allclose(answer["product"], batch["x"] @ WEIGHTS.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("content", [None, b"no flatbuffer"], ids=["missing", "damaged"])
def test_a_file_that_cannot_be_loaded_is_said(tmp_path, content):
    if content:
        (tmp_path / MODEL).write_bytes(content)
    with pytest.raises(QuantbentoError, match=r"^LiteRT \d[\d.]+ cannot load model\.tflite: "):
        LiteRtRuntime.load(tmp_path, {"outputs": {}}, threads=1)


def test_it_has_no_full_precision_of_its_own(tmp_path):
    """That takes litert-torch, which a served image does not have."""
    assert LiteRtRuntime.write_reference(None, tmp_path, "float32") is None
