"""ONNX graphs are fed and answered by name, from one caller or from several at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from quantbento.runtimes.onnx import MODEL, OnnxRuntime
from tests.jobs import numbers, onnx_file


@pytest.fixture
def folder(tmp_path):
    onnx_file(
        tmp_path / MODEL,
        [("MatMul", ["a", "w"], ["product"]), ("Sub", ["product", "b"], ["difference"])],
        {"a": ["batch", 8], "b": ["batch", 4]},
        {"product": ["batch", 4], "difference": ["batch", 4]},
        {"w": numbers(8, 4)},
    )
    return tmp_path


def test_inputs_and_outputs_go_by_name(folder):
    runtime = OnnxRuntime.load(folder, {}, threads=1)
    b, a = numbers(3, 4, seed=1), numbers(3, 8, seed=2)
    found = runtime.run({"b": b, "a": a})
    assert list(found) == ["product", "difference"]
    np.testing.assert_allclose(found["product"], a @ numbers(8, 4), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["difference"], a @ numbers(8, 4) - b, rtol=1e-5, atol=1e-6)


def test_a_call_takes_the_threads_it_is_given_and_does_not_spin(folder):
    for threads in (1, 3):
        options = OnnxRuntime.load(folder, {}, threads=threads)._session.get_session_options()
        assert options.intra_op_num_threads == threads
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert OnnxRuntime.concurrent


def test_callers_at_once_get_their_own_answers(folder):
    runtime = OnnxRuntime.load(folder, {}, threads=4)
    batches = [{"a": numbers(5, 8, seed=i), "b": numbers(5, 4, seed=i)} for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runtime.run, batches))
    for batch, answer in zip(batches, found, strict=True):
        np.testing.assert_array_equal(answer["difference"], runtime.run(batch)["difference"])
