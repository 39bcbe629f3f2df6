"""Files that are whole pass; empty, cut and foreign ones are named. Nothing in them is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from quantbento.core.errors import QuantbentoError
from quantbento.making.unjudged.files import check


class Harmful:
    """A pickle that leaves a file where it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("it-was-run",)


@pytest.fixture
def artifact(tmp_path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    (folder / "artifact.json").write_text("{}")
    (folder / "model.pkl").write_bytes(pickle.dumps(Harmful()))
    (folder / "vocab.txt").write_text("a")
    with zipfile.ZipFile(folder / "model.pt2", "w") as file:
        file.writestr("a", "content")
    return folder


def test_whole_files_are_parsed_and_not_run(artifact, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = check(artifact)
    assert (found["files"], found["parsed"]) == (5, 4)
    assert not Path("it-was-run").exists()


@pytest.mark.parametrize("name", ["model.onnx", "artifact.json", "model.pkl", "model.pt2"])
def test_a_file_that_was_cut_is_found(artifact, name):
    (artifact / name).write_bytes((artifact / name).read_bytes()[:-1])
    with pytest.raises(QuantbentoError, match=f"  - {name} cannot be read: "):
        check(artifact)


def test_all_problems_are_listed(artifact):
    (artifact / "vocab.txt").write_text("")
    (artifact / "model.tflite").write_bytes(b"something else")
    with pytest.raises(QuantbentoError, match=r"model.tflite cannot be read: .*\n  - vocab.txt is empty"):
        check(artifact)
