"""The exported program: the task's inputs by name, its outputs in order, one size."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.litert import program
from quantbento.runtimes.module_files import exported_module
from tests.conftest import labelled_texts
from tests.jobs import job_of, numbers, text_job


def test_it_takes_inputs_by_name_and_gives_outputs_in_the_tasks_order(two_inputs, tmp_path):
    program.write(two_inputs.source.module, two_inputs.task, tmp_path / "a.pt2")
    exported = torch.export.load(tmp_path / "a.pt2")
    args, inputs = exported.example_inputs
    assert args == () and {name: tuple(value.shape) for name, value in inputs.items()} == {
        "x": (1, 4),
        "unused": (1, 2),
        "y": (1, 3),
    }
    batch = {name: torch.randn_like(value) for name, value in inputs.items()}
    found = dict(zip(two_inputs.task.output_names, exported.module()(**batch), strict=True))
    for name, value in two_inputs.source.module(**batch).items():
        torch.testing.assert_close(found[name], value)


def test_an_exported_program_may_be_the_source(tmp_path):
    linear = nn.Linear(4, 3).eval()
    free = torch.export.export(linear, (torch.randn(3, 4),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    job = job_of(exported_module(free), list(numbers(4, 4)), tmp_path)
    program.write(job.source.module, job.task, tmp_path / "a.pt2")
    exported, x = torch.export.load(tmp_path / "a.pt2"), torch.randn(1, 4)
    torch.testing.assert_close(exported.module()(**{job.task.input_names[0]: x})[0], linear(x))


def test_axes_of_outputs_are_those_of_the_task(two_inputs, tiny_classifier, tmp_path):
    assert program.output_axes(two_inputs.task) == dict.fromkeys(two_inputs.task.output_names, 0)
    job = text_job(tiny_classifier, "text-classification", labelled_texts(4, seed=0)[0], tmp_path)
    assert program.output_axes(job.task) == {"logits": 0}


def test_inputs_of_any_size_are_refused_with_the_way_out(tiny_classifier, tmp_path):
    job = text_job(tiny_classifier, "text-classification", labelled_texts(4, seed=0)[0], tmp_path)
    with pytest.raises(QuantbentoError, match=r"fixed sizes, and 'input_ids'.* can have any; use onnx-"):
        program.write(job.source.module, job.task, tmp_path / "a.pt2")


def test_a_module_that_cannot_be_exported_is_said_in_one_line(tmp_path):
    class Decides(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    job = job_of(Decides(), list(np.ones((4, 3), np.float32)), tmp_path)
    with pytest.raises(QuantbentoError, match=r"^the model could not be exported for LiteRT: [^\n]*$"):
        program.write(job.source.module, job.task, tmp_path / "a.pt2")
