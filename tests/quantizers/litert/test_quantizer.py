"""What the worker gets, what is made of its result, and with the converter: as right as full precision."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from examples import digits, two_moons
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.litert import quantizer as quantizer_module
from quantbento.quantizers.litert.graph import Operator
from quantbento.quantizers.litert.quantizer import REQUIREMENTS, LiteRt, LiteRtOptions, count
from quantbento.runtimes import artifact
from quantbento.runtimes.litert import MODEL
from quantbento.tasks.metrics import sqnr_db
from tests import litert_files
from tests.jobs import job_of, numbers, quantized
from tests.quantizers.litert.conftest import calibrated

MODES = ["full-integer", "dynamic-range"]


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """In place of the isolated worker: keeps the job and its files, and writes a file by hand."""

    class Worker:
        job: dict
        folder = tmp_path / "kept"

        def __call__(self, python, script, job, on_progress):
            assert Path(script).name == "litert_worker.py"
            self.job = json.loads(json.dumps(job))
            shutil.copytree(Path(job["program"]).parent, self.folder, dirs_exist_ok=True)
            litert_files.linear_int8(Path(job["output"]), numbers(3, 4), x=(0.1, 0), y=(0.1, 0))
            return {}

    made = Worker()
    monkeypatch.setattr(quantizer_module.isolated, "environment", lambda requirements, say: Path("python"))
    monkeypatch.setattr(quantizer_module.isolated, "run", made)
    return made


def test_the_worker_gets_each_calibration_sample_in_the_files_shape(two_inputs, worker, tmp_path):
    assert len(two_inputs.calibration) == 2  # batches, of 64 and of 6
    LiteRt().quantize(two_inputs, LiteRtOptions(mode="full-integer"), tmp_path)
    given = {path.stem: np.load(path) for path in (worker.folder / "calibration").iterdir()}
    assert {name: values.shape for name, values in given.items()} == {
        "x": (70, 1, 4),
        "unused": (70, 1, 2),
        "y": (70, 1, 3),
    }
    np.testing.assert_array_equal(given["x"][:, 0], [item["x"] for item in two_inputs.samples.inputs])
    assert worker.job["method"] == "static_wi8_ai8"


def test_without_calibration_activations_are_quantized_at_run_time(two_inputs, worker, tmp_path):
    two_inputs.calibration = None
    done = LiteRt().quantize(two_inputs, LiteRtOptions(), tmp_path)
    assert (worker.job["method"], worker.job["calibration"]) == ("dynamic_wi8_afp32", None)
    assert done.runtime_config == {"outputs": dict.fromkeys(two_inputs.task.output_names, 0)}
    assert (done.counts, done.quantized_parameters, done.parameters) == ({"FULLY_CONNECTED": 1}, 12, 67)
    assert [path.name for path in tmp_path.glob("*.tflite")] == [MODEL]


def test_only_full_integer_needs_calibration():
    assert LiteRt().needs(LiteRtOptions(mode="full-integer")) == "calibration"
    assert LiteRt().needs(LiteRtOptions()) is None


def test_torchscript_is_refused_with_the_way_out(tmp_path):
    job = job_of(torch.jit.trace(torch.nn.Linear(4, 3), torch.ones(2, 4)), list(numbers(4, 4)), tmp_path)
    [told] = LiteRt().preflight_module(job.source.module, LiteRtOptions())
    assert "TorchScript; use onnx-static" in told
    with pytest.raises(QuantbentoError, match="TorchScript"):
        LiteRt().quantize(job, LiteRtOptions(), tmp_path)


def test_what_stays_in_floats_is_reported():
    layer = Operator("a", "CONV_2D", {1: 10}, float_weights=False, floats=False)
    left = Operator("b", "EMBEDDING_LOOKUP", {}, float_weights=True, floats=True)
    softmax = Operator("c", "SOFTMAX", {}, float_weights=False, floats=True)
    done = count([layer, left, softmax, layer], "full-integer", {}, 100)
    assert (done.counts, done.quantized_parameters, done.left_out) == ({"CONV_2D": 2}, 10, ["b"])
    assert done.notes == ["computed in floats: 1 EMBEDDING_LOOKUP, 1 SOFTMAX"]
    assert count([layer, softmax], "dynamic-range", {}, 100).notes == []  # all are, between the layers
    with pytest.raises(QuantbentoError, match=r"nothing: .* \(the file has 1 EMBEDDING_LOOKUP, 1 SOFTMAX\)"):
        count([left, softmax], "full-integer", {}, 100)


def test_the_environment_is_made_on_first_use(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENTO_CACHE", str(tmp_path))
    assert LiteRt.made_on_first_use() == (
        f"an environment of its own with {REQUIREMENTS[0]} is made on first use (needs the network)"
    )
    monkeypatch.setattr("quantbento.core.isolated._complete", lambda folder: True)
    assert LiteRt.made_on_first_use() is None


def test_the_scheme_is_the_modes():
    assert [LiteRt().scheme_of(LiteRtOptions(mode=mode)) for mode in MODES] == ["int8-static", "int8-dynamic"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("example", [two_moons, digits], ids=["two-moons", "digits"])
def test_accuracy_stays_within_half_a_point(own_environment, tmp_path, example, mode):
    if example is digits:
        items, known = ([digits.preprocess(i) for i in given] for given in (digits.held_out()[0], digits.calibration()))
    else:
        items, known = list(two_moons.held_out()[0]["points"]), list(two_moons.calibration()["points"])
    module, labels = example.model(), example.held_out()[1]
    job = job_of(module, items, tmp_path)
    job.calibration = calibrated(job_of(module, known, tmp_path)).calibration
    done, predictor = quantized(job, "litert", tmp_path / "int8", mode=mode)
    layers = {"DEPTHWISE_CONV_2D": 1, "CONV_2D": 1, "FULLY_CONNECTED": 2}  # the first has one input channel
    assert done.counts == (layers if example is digits else {"FULLY_CONNECTED": 3})
    assert 0.9 < done.quantized_parameters / done.parameters < 1
    assert (done.left_out, done.notes) == ([], [])
    with torch.no_grad():
        full = float((module(torch.from_numpy(np.stack(items))).numpy().argmax(-1) == labels).mean())
    accuracy = float((np.stack(predictor(items)).argmax(-1) == labels).mean())
    assert full > 0.97
    assert accuracy >= full - 0.005


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "least"), [("full-integer", 35), ("dynamic-range", 45)])
def test_several_inputs_and_outputs_keep_their_names(own_environment, two_inputs, tmp_path, mode, least):
    _, predictor = quantized(two_inputs, "litert", tmp_path / "int8", mode=mode)
    answers = predictor(two_inputs.samples.inputs)
    for item, answer in zip(two_inputs.samples.inputs, answers, strict=True):
        with torch.no_grad():
            expected = two_inputs.source.module(**{n: torch.from_numpy(v)[None] for n, v in item.items()})
        assert answer.keys() == expected.keys()
        for name, value in expected.items():
            assert answer[name].dtype == np.float32
            np.testing.assert_allclose(answer[name], value[0], atol=0.05)
    found = artifact.load(tmp_path / "int8", threads=2)(two_inputs.samples.inputs)
    for name in ("scores", "hidden"):
        assert sqnr_db(np.stack([a[name] for a in answers]), np.stack([a[name] for a in found])) > least


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "least"), [("full-integer", 35), ("dynamic-range", 45)])
def test_a_convolutional_network_is_close(own_environment, network, tmp_path, mode, least):
    done, predictor = quantized(network, "litert", tmp_path / "int8", mode=mode)
    assert done.counts == {"CONV_2D": 1, "TRANSPOSE_CONV": 1, "FULLY_CONNECTED": 1}
    items = network.samples.inputs
    with torch.no_grad():
        expected = network.source.module(torch.from_numpy(np.stack(items))).numpy()
    assert least < sqnr_db(expected, np.stack(predictor(items))) < 80
