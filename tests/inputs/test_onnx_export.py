"""An exported model computes what the original does, at batch sizes and lengths it was not exported with."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.runtimes.onnx import OnnxRuntime
from quantbento.tasks.metrics import sqnr_db
from tests.jobs import job_of, numbers, onnx_file, text_job


class Named(nn.Module):
    """Its outputs are not in alphabetical order."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, left, right):
        return {"sum": self.linear(left) + right, "difference": self.linear(left) - right}


def run(path, batch):
    return OnnxRuntime.load(path.parent, {}, threads=1).run(batch)


@pytest.fixture(scope="module")
def encoder(tiny_encoder, tmp_path_factory):
    """Exported with three texts of three tokens: equal sizes must not be read as the same dimension."""
    job = text_job(tiny_encoder, "feature-extraction", ["good", "bad", "fine"], tmp_path_factory.mktemp("job"))
    return job, job.onnx()


@pytest.mark.parametrize(("batch", "length"), [(1, 3), (1, 29), (2, 3), (3, 8), (9, 32)])
def test_batch_and_length_are_dynamic(encoder, batch, length):
    job, path = encoder
    texts = ["good film " * ((length - 2) // 2) + "bad" * (length % 2)] * (batch - 1) + ["dull " * (length - 2)]
    inputs = job.task.collate([job.task.encode(text) for text in texts])
    with torch.no_grad():
        expected = job.source.module(**{n: torch.from_numpy(v) for n, v in inputs.items()}).last_hidden_state.numpy()
    assert expected.shape == (batch, length, 32)
    assert sqnr_db(expected, run(path, inputs)["last_hidden_state"]) > 90


def test_a_workspace_is_exported_to_once(encoder):
    job, path = encoder
    before = path.stat().st_mtime_ns
    assert job.onnx() == path
    assert path.stat().st_mtime_ns == before


def test_inputs_and_outputs_keep_their_names(tmp_path):
    torch.manual_seed(0)
    module = Named()
    job = job_of(module, [{"right": numbers(3), "left": numbers(4)}], tmp_path)
    batch = {"left": numbers(5, 4), "right": numbers(5, 3)}
    found = run(job.onnx(), batch)
    assert list(found) == ["sum", "difference"]
    with torch.no_grad():
        expected = module(**{n: torch.from_numpy(v) for n, v in batch.items()})
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-5, atol=1e-6)


def test_a_user_s_own_file_is_taken_as_it_is(tmp_path):
    path = onnx_file(tmp_path / "own.onnx", [("Relu", ["x"], ["y"])], {"x": ["batch", 3]}, {"y": ["batch", 3]}, {})
    assert job_of(path, [numbers(3)], tmp_path).onnx() == path


def test_what_cannot_be_exported_is_told_in_a_line(tmp_path):
    class Branching(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(QuantbentoError, match=r"^the model could not be exported to ONNX: \w+: [^\n]+$"):
        job_of(Branching(), [numbers(3)], tmp_path).onnx()
    assert not list(tmp_path.rglob("*.onnx"))
