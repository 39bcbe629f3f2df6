"""What TensorRT is asked for, with a stand-in that computes on the CPU: there is no GPU here."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from quantbento.core import machine
from quantbento.core.errors import InvalidInput, QuantbentoError
from quantbento.runtimes import artifact
from quantbento.runtimes.onnx import MODEL
from quantbento.runtimes.tensorrt import TensorRtRuntime
from tests import fake_tensorrt
from tests.fake_tensorrt import Flag
from tests.jobs import job_of, numbers, onnx_file


class Halves(nn.Module):
    """Two inputs, of which one has whole numbers; two outputs, of which one has half precision."""

    def forward(self, x, ids):
        return {"sum": x + ids[:, None], "half": (x * 0.5).half()}


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    return fake_tensorrt.install(monkeypatch, tmp_path / "cache")


@pytest.fixture
def job(tmp_path):
    items = [{"x": numbers(3, seed=i), "ids": np.int64(i)} for i in range(4)]
    return job_of(Halves(), items, tmp_path)


def written(job, folder):
    """Full precision as an artifact."""
    folder.mkdir()
    job.complete(folder, TensorRtRuntime, TensorRtRuntime.write_reference(job, folder, "float32"))
    return folder


def loaded(folder, device="cuda"):
    """The artifact, with tensors in the CPU's memory, where the stand-in finds them."""
    model = artifact.load(folder, device=device)
    assert model.runtime.device == device
    model.runtime.device = "cpu"
    return model


def test_tensors_go_in_and_out_by_name_type_and_shape(gpu, job, tmp_path):
    model = loaded(written(job, tmp_path / "a"))
    x, ids = numbers(3, 6)[:, ::2], np.arange(3)  # not in one piece
    for some in (slice(0, 3), slice(1, 2)):
        found = model.runtime.run({"ids": ids[some], "x": x[some]})
        np.testing.assert_allclose(found["sum"], x[some] + ids[some, None], rtol=1e-6)
        np.testing.assert_allclose(found["half"], (x[some] * 0.5).astype(np.float16), rtol=1e-6)
        assert found["half"].dtype == np.float32
    assert gpu.streams == [77, 77]
    assert model.runtime._stream.waited == 2


def test_every_tensor_keeps_its_type_and_the_engine_gets_the_tasks_sizes(gpu, job, tmp_path):
    loaded(written(job, tmp_path / "a"))
    assert gpu.flags == [1 << Flag.STRONGLY_TYPED]
    assert gpu.profiles == [{"x": [[1, 3], [64, 3], [64, 3]], "ids": [[1], [64], [64]]}]


def test_the_predictor_answers(gpu, job, tmp_path):
    model = loaded(written(job, tmp_path / "a"))
    answers = model([{"x": np.ones(3), "ids": i} for i in range(70)])
    assert len(answers) == 70
    np.testing.assert_allclose(answers[69]["sum"], [70, 70, 70])


def test_the_gpu_is_the_one_that_was_asked_for(gpu, job, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: asked.append(device) or "NVIDIA H100")
    model = loaded(written(job, tmp_path / "a"), "cuda:1")
    assert asked == ["cuda:1"] and model.runtime._stream.device == "cuda:1"


def test_an_engine_is_built_once_for_each_gpu_version_profile_and_file(gpu, job, tmp_path, monkeypatch):
    folder = written(job, tmp_path / "a")
    loaded(folder)
    loaded(folder)
    assert gpu.made == 1
    [plan] = (tmp_path / "cache" / "tensorrt").iterdir()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    loaded(folder)
    assert gpu.made == 2
    assert fake_tensorrt.install(monkeypatch, tmp_path / "cache", "10.14.0").made == 0
    newer = sys.modules["tensorrt"]
    loaded(folder)
    assert newer.made == 1
    TensorRtRuntime.load(folder, {"profile": {"x": [[1, 3]] * 3, "ids": [[1]] * 3}}, threads=1)
    assert newer.made == 2
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes() + b"\x0a\x00")
    loaded(folder)
    assert newer.made == 3
    assert plan in (tmp_path / "cache" / "tensorrt").iterdir()


def test_a_file_of_weights_beside_the_graph_counts_too(gpu, job, tmp_path):
    linear = job_of(nn.Linear(64, 64), [numbers(64)], tmp_path / "w")
    folder = written(linear, tmp_path / "a")
    model = onnx.load(folder / MODEL)
    onnx.save(model, folder / MODEL, save_as_external_data=True, location="weights", size_threshold=0)
    loaded(folder)
    weights = bytearray((folder / "weights").read_bytes())
    weights[0] ^= 1
    (folder / "weights").write_bytes(weights)
    loaded(folder)
    assert gpu.made == 2


def test_a_broken_plan_is_built_again(gpu, job, tmp_path):
    folder = written(job, tmp_path / "a")
    loaded(folder)
    [plan] = (tmp_path / "cache" / "tensorrt").iterdir()
    plan.write_bytes(b"half of")
    loaded(folder)
    assert gpu.made == 2 and plan.stat().st_size > 100


def test_a_cache_that_cannot_be_written_costs_time_only(gpu, job, tmp_path, caplog):
    (tmp_path / "cache").write_text("in the way")
    model = loaded(written(job, tmp_path / "a"))
    assert len(model([{"x": np.ones(3), "ids": 1}])) == 1
    assert "the TensorRT engine is built again at the next start: it cannot be kept" in caplog.text


def test_sizes_beyond_the_profile_are_refused_with_those_that_are_allowed(gpu, job, tmp_path):
    model = loaded(written(job, tmp_path / "a"))
    told = r"^'x' has the shape \(65, 3\), and the TensorRT engine takes \(1, 3\) to \(64, 3\): "
    with pytest.raises(InvalidInput, match=told):
        model.runtime.run({"x": np.ones((65, 3), np.float32), "ids": np.zeros(65, np.int64)})
    assert gpu.streams == []


def test_what_the_parser_says_is_the_error(gpu, job, tmp_path):
    gpu.parse_errors = ["No importer registered for op: NonZeroish.\n", "also this"]
    told = r"^TensorRT 10\.13\.0 cannot read the graph: No importer registered for op: NonZeroish; also this$"
    with pytest.raises(QuantbentoError, match=told):
        loaded(written(job, tmp_path / "a"))


def test_what_the_builder_logs_is_the_error(gpu, job, tmp_path):
    gpu.build_error = "node_linear: FP8 needs compute capability 8.9.\nmore"
    told = r"^TensorRT 10\.13\.0 cannot build an engine of the graph: node_linear: FP8 needs compute capability 8\.9$"
    with pytest.raises(QuantbentoError, match=told):
        loaded(written(job, tmp_path / "a"))
    assert not (tmp_path / "cache").exists()


def test_an_engine_that_does_not_run_is_an_error(gpu, job, tmp_path):
    model = loaded(written(job, tmp_path / "a"))
    gpu.runs = False
    with pytest.raises(QuantbentoError, match="could not run the engine"):
        model([{"x": np.ones(3), "ids": 1}])


def test_inputs_that_decide_about_shapes_are_refused(gpu, job, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_tensorrt.Engine, "is_shape_inference_io", lambda self, name: name == "ids")
    with pytest.raises(QuantbentoError, match=r"^'ids' decides about shapes"):
        loaded(written(job, tmp_path / "a"))


def test_outputs_whose_shape_is_not_known_before_are_refused(gpu, job, tmp_path, monkeypatch):
    model = loaded(written(job, tmp_path / "a"))
    monkeypatch.setattr(fake_tensorrt.Context, "get_tensor_shape", lambda self, name: [-1, 3])
    with pytest.raises(QuantbentoError, match=r"^the shape of 'sum' depends on values"):
        model([{"x": np.ones(3), "ids": 1}])


def test_full_precision_is_float32_only(job, tmp_path):
    assert TensorRtRuntime.write_reference(job, tmp_path, "bfloat16") is None


def test_without_a_gpu_it_does_not_start(gpu, job, tmp_path, monkeypatch):
    folder = written(job, tmp_path / "a")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(QuantbentoError, match=r"this model cannot run on cuda: PyTorch .* finds no NVIDIA GPU"):
        artifact.load(folder)
    monkeypatch.setattr(machine, "devices", lambda: {"cpu"})
    with pytest.raises(QuantbentoError, match=r"this model runs on cuda, not on cpu \(this machine has cpu\)"):
        artifact.load(folder)


def test_a_library_that_is_missing_is_named(gpu, monkeypatch):
    assert TensorRtRuntime.device_problem("cuda") is None
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    told = TensorRtRuntime.device_problem("cuda")
    assert told.startswith("TensorRT cannot be imported (ModuleNotFoundError: ")
    assert told.endswith("run: pip install 'quantbento[tensorrt]'")


def test_a_graph_of_the_users_own(gpu, tmp_path):
    path = onnx_file(tmp_path / MODEL, [("Add", ["x", "x"], ["y"])], {"x": ["batch", 3]}, {"y": ["batch", 3]}, {})
    model = loaded(written(job_of(path, [numbers(3)], tmp_path), tmp_path / "a"))
    np.testing.assert_array_equal(model([[1, 2, 3]])[0], [2, 4, 6])
