"""The worker in the environment it is made for."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core import isolated
from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.litert.quantizer import REQUIREMENTS, WORKER
from quantbento.runtimes.litert import MODEL, LiteRtRuntime

pytestmark = pytest.mark.slow


def work(folder, module, example, values=None):
    """Runs the worker; calibrates on the values of its one input, if there are any."""
    exported = torch.export.export(module.eval(), (), {"input": example})
    torch.export.save(exported, folder / "program.pt2")
    (folder / "calibration").mkdir()
    if values is not None:
        np.save(folder / "calibration" / "input.npy", values)
    job = {
        "program": str(folder / "program.pt2"),
        "calibration": None if values is None else str(folder / "calibration"),
        "method": "dynamic_wi8_afp32" if values is None else "static_wi8_ai8",
        "output": str(folder / MODEL),
    }
    progress = []
    isolated.run(isolated.environment(REQUIREMENTS, print), WORKER, job, lambda *at: progress.append(at))
    return progress


def test_the_range_is_that_of_all_samples(own_environment, tmp_path):
    """A moving average of each sample's own range would be half of it, and depend on their order."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    values = np.linspace(-4, 4, 101, dtype=np.float32).reshape(-1, 1, 1)
    progress = work(tmp_path, module, torch.ones(1, 1), np.random.default_rng(0).permutation(values))
    assert progress == [(stage, done, 3) for done, stage in enumerate(("convert", "calibrate", "quantize"))]
    runtime = LiteRtRuntime.load(tmp_path, {"outputs": {"y": 0}}, threads=1)
    np.testing.assert_allclose(runtime.run({"input": values[:, 0]})["y"], values[:, 0], atol=0.06)
    assert [path.name for path in tmp_path.glob("*.tflite")] == [MODEL]


def test_integers_are_calibrated_in_the_files_type(own_environment, tmp_path):
    module = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(24, 4))
    ids = np.random.default_rng(0).integers(0, 20, (30, 1, 3))
    work(tmp_path, module, torch.from_numpy(ids[0]), ids)
    runtime = LiteRtRuntime.load(tmp_path, {"outputs": {"y": 0}}, threads=1)
    with torch.no_grad():
        expected = module(torch.from_numpy(ids[:, 0]))
    np.testing.assert_allclose(runtime.run({"input": ids[:, 0]})["y"], expected, atol=0.1)


def test_what_cannot_be_converted_is_said_in_one_line(own_environment, tmp_path):
    class Eigen(nn.Module):
        def forward(self, input):
            return torch.linalg.eigvals(input)

    with pytest.raises(QuantbentoError) as error:
        work(tmp_path, Eigen(), torch.eye(3)[None])
    assert str(error.value).startswith("litert_worker: NotForLiteRt: litert-torch cannot convert the model: ")
    assert str(error.value).endswith("; use a quantizer for another runtime, such as onnx-static")
    assert "\n" not in str(error.value)
