"""What cannot be traced is one sentence with its line; what is not traced stays in full precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.torch.static import TorchStatic, TorchStaticOptions
from quantbento.tasks.metrics import sqnr_db
from tests.jobs import job_of, numbers, quantized
from tests.quantizers.torch.calibrated import fidelity, job


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        if x.sum() > 1e9:
            x = -x
        return self.second(x)


class WithBranch(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.head = Branching(), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.inner(x))


class Optional(nn.Module):
    """Its second input is given by nobody; its weights in `table` are no layer's."""

    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(8, 16), nn.Parameter(torch.randn(4, 16))

    def forward(self, x, mask=None, *, scale=1.0):
        x = torch.relu(self.layer(x))
        if mask is not None:
            x = x * mask
        return {"scores": nn.functional.linear(x, self.table) * scale}


def test_inputs_that_are_not_given_keep_their_default(tmp_path):
    torch.manual_seed(0)
    module = Optional().eval()
    inputs = [{"x": x} for x in numbers(30, 8)]
    made = job_of(module, inputs, tmp_path)
    made.calibration = made.task.calibrate(inputs, None)
    done, predictor = quantized(made, "torch-static", tmp_path / "int8")
    assert done.counts == {"Linear": 1, "linear": 1}
    assert (done.quantized_parameters, done.parameters) == (8 * 16 + 16 * 4, 8 * 16 + 16 + 16 * 4)
    with torch.no_grad():
        expected = module(torch.from_numpy(np.stack([i["x"] for i in inputs])))["scores"].numpy()
    assert 25 < sqnr_db(expected, np.stack(predictor(inputs))) < 70
    assert type(module) is Optional


def test_code_that_cannot_be_traced_is_named_with_its_line(tmp_path):
    made = job(WithBranch().eval(), numbers(4, 8), tmp_path)
    message = r"test_tracing.py, line \d+, `if x.sum\(\) > 1e9:`: TraceError: .*`untraced: \[.*or use onnx-static"
    with pytest.raises(QuantbentoError, match=message):
        quantized(made, "torch-static", tmp_path / "int8")
    (told,) = TorchStatic().preflight_module(made.source.module, TorchStaticOptions())
    assert "`if x.sum() > 1e9:`" in told
    assert TorchStatic().preflight_module(made.source.module, TorchStaticOptions(untraced=["inner"])) == []


def test_what_is_not_traced_stays_in_full_precision(tmp_path):
    torch.manual_seed(0)
    module, inputs = WithBranch().eval(), numbers(20, 8)
    done, predictor = quantized(job(module, inputs, tmp_path), "torch-static", tmp_path / "int8", untraced=["inner"])
    assert (done.counts, done.quantized_parameters) == ({"Linear": 1}, 6)
    assert type(predictor.runtime.module.inner.first) is nn.Linear
    assert 20 < fidelity(module, predictor, inputs) < 70
