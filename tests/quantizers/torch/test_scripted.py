"""The linear layers of a TorchScript module become INT8; what cannot be quantized so is one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.model_files import read_exported, read_torchscript
from quantbento.tasks.metrics import sqnr_db
from tests import model_files
from tests.jobs import job_of, numbers, quantized


@pytest.fixture
def job(tmp_path):
    return job_of(read_torchscript(model_files.torchscript(tmp_path)), model_files.samples(), tmp_path)


def scores(predictor):
    return np.stack([answer["scores"] for answer in predictor(model_files.samples())])


def expected():
    with torch.inference_mode():
        x = torch.from_numpy(np.stack([s["x"] for s in model_files.samples()]))
        return model_files.small()(x, torch.full((len(x), 1), 0.5))["scores"].numpy()


def test_every_linear_layer_is_quantized_and_counted(job, tmp_path):
    done, predictor = quantized(job, "torch-dynamic", tmp_path / "int8")
    assert done.counts == {"Linear": 2}
    assert done.quantized_parameters == 16 * 64 + 64 * 3
    assert done.parameters == done.quantized_parameters + 64 + 3
    assert 20 < sqnr_db(expected(), scores(predictor)) < 80


def test_layers_are_chosen_by_name(job, tmp_path):
    done, predictor = quantized(job, "torch-dynamic", tmp_path / "int8", include=["first"])
    assert (done.counts, done.quantized_parameters) == ({"Linear": 1}, 16 * 64)
    assert done.parameters == 16 * 64 + 64 * 3 + 64 + 3
    assert sqnr_db(expected(), scores(predictor)) < 80
    with pytest.raises(QuantbentoError, match=r"the model has 2 layers it can quantize \(Linear, in TorchScript\)"):
        quantized(job, "torch-dynamic", tmp_path / "none", exclude=["*"])


def test_the_source_stays_as_it_was(job, tmp_path):
    before = {name: p.clone() for name, p in job.source.module.named_parameters()}
    quantized(job, "torch-dynamic", tmp_path / "int8")
    assert all(torch.equal(before[name], p) for name, p in job.source.module.named_parameters())


def test_a_layer_that_is_called_in_two_branches_is_counted_twice(tmp_path):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.size(0) > 1000:
                return self.linear(x) * 2
            return self.linear(x)

    torch.manual_seed(0)
    script = torch.jit.script(Branching().eval())
    done, _ = quantized(job_of(script, [numbers(4)], tmp_path), "torch-dynamic", tmp_path / "int8")
    assert (done.counts, done.quantized_parameters, done.parameters) == ({"Linear": 2}, 32, 36)


def test_a_frozen_file_has_no_layers_left(tmp_path):
    frozen = torch.jit.freeze(torch.jit.script(model_files.small()))
    with pytest.raises(QuantbentoError, match="would quantize nothing: the model has 0 layers"):
        quantized(job_of(frozen, model_files.samples(), tmp_path), "torch-dynamic", tmp_path / "int8")


def test_an_exported_program_is_refused_with_the_ways_there_are(tmp_path):
    job = job_of(read_exported(model_files.exported(tmp_path)), model_files.samples(), tmp_path)
    with pytest.raises(QuantbentoError, match=r"a torch.export program has none. Use onnx-dynamic, or name"):
        quantized(job, "torch-dynamic", tmp_path / "int8")
