"""An artifact folder is all that is needed to load a predictor."""

import json
import sys

import numpy as np
import pytest

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.runtimes import artifact
from quantbento.runtimes.onnx import MODEL, OnnxRuntime
from quantbento.tasks.tensor import TensorTask
from tests.jobs import job_of, numbers, onnx_file


def halve(item):
    return np.asarray(item) / 2


@pytest.fixture
def folder(tmp_path):
    """A graph that doubles, after a preprocess that halves."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    path = onnx_file(folder / MODEL, [("Add", ["x", "x"], ["y"])], {"x": ["batch", 3]}, {"y": ["batch", 3]}, {})
    task = job_of(path, [numbers(3)], tmp_path).task
    artifact.write(folder, task, OnnxRuntime, {}, {"preprocess": halve, "names": ["a"]})
    return folder


def test_a_written_folder_loads(folder):
    predictor = artifact.load(folder, threads=1)
    np.testing.assert_array_equal(predictor([[1, 2, 3]])[0], [1, 2, 3])
    assert predictor.custom_objects["names"] == ["a"]


def test_a_moved_folder_loads(folder, tmp_path):
    moved = folder.rename(tmp_path / "moved")
    np.testing.assert_array_equal(artifact.load(moved)([[1, 2, 3]])[0], [1, 2, 3])


def test_the_description_says_how_to_load_it(folder):
    assert artifact.describe(folder) == {
        "schema_version": 1,
        "task": "tensor",
        "task_config": {
            "inputs": [{"name": "x", "dtype": "float32", "shape": [3], "sizes": [3], "batch_axis": 0, "value": None}],
            "outputs": {"y": 0},
            "batch": None,
            "labels": None,
        },
        "runtime": "onnx",
        "runtime_config": {},
        "devices": ["cpu", "cuda"],
    }


def test_the_task_loads_without_the_model(folder):
    (folder / MODEL).unlink()
    assert [(i.name, i.shape) for i in artifact.load_task(folder).inputs] == [("x", (3,))]


def test_no_custom_objects_no_pickle(folder, tmp_path):
    (folder / artifact.CUSTOM_OBJECTS).unlink()
    task = artifact.load_task(folder)
    artifact.write(folder, task, OnnxRuntime, {}, {})
    assert {p.name for p in folder.iterdir()} == {MODEL, artifact.DESCRIPTION}
    assert artifact.load(folder).custom_objects == {}


def test_a_missing_package_is_named_with_what_installs_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    message = r"the onnx runtime needs the package 'onnxruntime', .* pip install 'quantbento\[onnx\]'"
    with pytest.raises(QuantbentoError, match=message):
        artifact.load(folder)


def test_an_unknown_runtime_is_named(folder):
    description = artifact.describe(folder)
    (folder / artifact.DESCRIPTION).write_text(json.dumps(description | {"runtime": "onxn"}))
    with pytest.raises(QuantbentoError, match=r"unknown runtime 'onxn'; did you mean 'onnx'\?"):
        artifact.load(folder)


def test_size_counts_files_in_subfolders(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "inner" / "b").write_bytes(b"123")
    assert artifact.size_bytes(tmp_path) == 8


def test_engine_settings_are_vllms_alone(folder, tmp_path):
    task = artifact.load_task(folder)
    for name, config in {"vllm": {"engine": {"max_model_len": 64}}, "transformers": {}}.items():
        folder = tmp_path / name
        folder.mkdir()
        artifact.write(folder, task, registry.runtime(name), {}, {}, {"max_model_len": 64})
        assert artifact.describe(folder)["runtime_config"] == config


@pytest.mark.parametrize(
    ("task", "runtime", "threads", "each", "at_once"),
    [(False, True, 3, 3, 1), (True, False, 3, 3, 1), (True, True, 1, 1, 1), (True, True, 3, 1, 3)],
    ids=["large-chunks", "runtime-cannot", "one-core", "chunks-side-by-side"],
)
def test_chunks_run_side_by_side_on_a_core_each_where_task_and_runtime_agree(
    folder, monkeypatch, task, runtime, threads, each, at_once
):
    monkeypatch.setattr(TensorTask, "concurrent", task)
    monkeypatch.setattr(OnnxRuntime, "concurrent", runtime)
    loaded = artifact.load(folder, threads)
    assert loaded.runtime._session.get_session_options().intra_op_num_threads == each
    assert (loaded._pool._max_workers if loaded._pool else 1) == at_once


def test_custom_objects_whose_package_is_gone_are_one_error_before_the_engine_starts(folder, monkeypatch):
    (folder / artifact.CUSTOM_OBJECTS).write_bytes(b"cproject_that_is_not_here\nfunction\n.")
    monkeypatch.setattr(OnnxRuntime, "load", lambda *_, **__: pytest.fail("the engine was started"))
    with pytest.raises(
        QuantbentoError, match="custom objects saved with the model need the package 'project_that_is_not"
    ):
        artifact.load(folder)
