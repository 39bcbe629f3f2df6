"""The sizes that an engine is built for, of each kind of task."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.core.errors import InvalidInput
from quantbento.runtimes.tensorrt_profile import check, profile
from tests.conftest import labelled_texts
from tests.jobs import job_of, numbers, onnx_file, text_job


@pytest.fixture
def picture(tmp_path):
    """Takes any number of images of any size."""
    shape = ["batch", 3, "height", "width"]
    path = onnx_file(tmp_path / "m.onnx", [("Relu", ["x"], ["y"])], {"x": shape}, {"y": shape}, {})
    return job_of(path, [numbers(3, 20, 24), numbers(3, 32, 16)], tmp_path)


def test_texts_have_the_tokenizers_limit(tiny_classifier, tmp_path):
    job = text_job(tiny_classifier, "text-classification", labelled_texts(4, seed=0)[0], tmp_path)
    limit = job.task.text.max_length
    batches = [job.task.collate([job.task.encode("good " * 12)])]
    found = profile(job.onnx(), job.task, batches)
    assert found.keys() == set(job.task.input_names)
    assert all(sizes == [[1, 1], [8, 14], [8, limit]] for sizes in found.values())
    long = [{name: np.ones((1, limit + 9), np.int64) for name in job.task.input_names}]
    assert profile(job.onnx(), job.task, long)["input_ids"] == [[1, 1], [8, limit], [8, limit]]


def test_other_axes_of_any_size_have_those_of_the_samples(picture):
    batches = [{"x": numbers(2, 3, 20, 24)}, {"x": numbers(1, 3, 32, 16)}]
    assert profile(picture.source.onnx, picture.task, batches) == {
        "x": [[1, 3, 20, 16], [64, 3, 32, 24], [64, 3, 32, 24]]
    }
    least, usual, largest = profile(picture.source.onnx, picture.task, [])["x"]
    assert (least[1:], largest) == (usual[1:], usual)  # the one size that is known


def test_a_batch_along_another_axis_and_an_input_without_one(tmp_path):
    path = onnx_file(
        tmp_path / "m.onnx",
        [("Mul", ["x", "rate"], ["y"])],
        {"x": [4, "batch"], "rate": [1]},
        {"y": [4, "batch"]},
        {},
    )
    task = job_of(path, [{"x": numbers(4), "rate": numbers(1)}], tmp_path).task
    assert {i.name: i.batch_axis for i in task.inputs}["x"] == 1
    assert profile(path, task, []) == {"x": [[4, 1], [4, 64], [4, 64]], "rate": [[1], [1], [1]]}


def test_weights_that_are_listed_as_inputs_have_no_sizes(tmp_path):
    path = onnx_file(
        tmp_path / "m.onnx",
        [("Add", ["x", "w"], ["y"])],
        {"x": ["batch", 3], "w": [3]},
        {"y": ["batch", 3]},
        {"w": numbers(3)},
    )
    assert profile(path, job_of(path, [numbers(3)], tmp_path).task, []).keys() == {"x"}


@pytest.mark.parametrize("shape", [(0, 3), (9, 3), (1, 4), (3,)])
def test_other_shapes_are_refused(shape):
    check({"x": [[1, 3], [8, 3], [8, 3]]}, "x", (8, 3))
    with pytest.raises(InvalidInput, match=r"engine takes \(1, 3\) to \(8, 3\)"):
        check({"x": [[1, 3], [8, 3], [8, 3]]}, "x", shape)
