"""TorchScript and exported programs become ONNX too, and models of any types and sizes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from quantbento.inputs.model_files import read_exported, read_torchscript
from quantbento.runtimes.onnx import OnnxRuntime
from tests import model_files
from tests.jobs import job_of, numbers, quantized

READ = {
    "torchscript": lambda folder: read_torchscript(model_files.torchscript(folder)),
    "traced": lambda folder: torch.jit.trace(model_files.small(), (torch.ones(3, 16), torch.ones(3, 1)), strict=False),
    "exported": lambda folder: read_exported(model_files.exported(folder)),
}


def run(path, batch):
    return OnnxRuntime.load(path.parent, {}, threads=1).run(batch)


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_kind_of_file_is_exported_with_a_free_batch(kind, count, tmp_path):
    module = READ[kind](tmp_path)
    job = job_of(module, model_files.samples(), tmp_path)
    batch = {"x": numbers(count, 16), "shift": numbers(count, 1)}
    found = run(job.onnx(), batch)
    with torch.inference_mode():
        expected = model_files.small()(**{name: torch.from_numpy(value) for name, value in batch.items()})
    assert list(found) == ["scores", "best"]
    np.testing.assert_allclose(found["scores"], expected["scores"].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["best"], expected["best"].numpy())


def test_torchscript_can_still_be_quantized_after_it_was_exported(tmp_path):
    job = job_of(READ["torchscript"](tmp_path), model_files.samples(), tmp_path)
    job.onnx()
    done, _ = quantized(job, "torch-dynamic", tmp_path / "int8")
    assert done.counts == {"Linear": 2}


def test_a_program_with_a_fixed_batch_runs_item_by_item(tmp_path):
    job = job_of(read_exported(model_files.exported(tmp_path, batch=1)), model_files.samples(), tmp_path)
    assert job.task.layout.batch == 1
    [graph_input] = [i for i in onnx.load(job.onnx()).graph.input if i.name == "x"]
    assert [dim.dim_value for dim in graph_input.type.tensor_type.shape.dim] == [1, 16]


class Mixed(nn.Module):
    """Integers, booleans, and an image of any size."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 3)
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image, ids, keep):
        shift = self.table(ids).mean(1) * keep[:, None]
        return self.convolution(image / 255) + shift[:, :, None, None]


def test_integers_booleans_and_free_sizes_are_exported(tmp_path):
    torch.manual_seed(0)
    module = Mixed().eval()
    rng = np.random.default_rng(0)

    def sample(height, width):
        image = rng.integers(0, 255, (3, height, width)).astype(np.uint8)
        return {"image": image, "ids": rng.integers(0, 9, 4), "keep": np.array(True)}

    job = job_of(module, [sample(6, 6), sample(8, 5)], tmp_path)
    assert [(i.name, i.dtype, str(i)) for i in job.task.inputs] == [
        ("image", "uint8", "(3, any, any)"),
        ("ids", "int64", "(4,)"),
        ("keep", "bool", "()"),
    ]
    path = job.onnx()
    for height, width, count in ((6, 6, 2), (9, 4, 1), (5, 11, 3)):
        batch = job.task.collate([job.task.check(sample(height, width)) for _ in range(count)])
        with torch.inference_mode():
            expected = module(**{name: torch.from_numpy(value) for name, value in batch.items()}).numpy()
        np.testing.assert_allclose(run(path, batch)["output"], expected, rtol=1e-4, atol=1e-5)
