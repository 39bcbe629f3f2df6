"""What most weights of a module or of a graph are in."""

import pytest
import torch
from torch import nn

from quantbento.making.drafting.layers import of
from quantbento.tasks.source import SourceModel
from tests.jobs import numbers, onnx_file


@pytest.mark.parametrize(
    ("module", "layers"),
    [
        (nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16, 4)), "convolution"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 64)), "linear"),
        (nn.Conv1d(4, 4, 3), "convolution"),
        (nn.Embedding(100, 8), "linear"),
    ],
)
def test_a_module(module, layers):
    assert of(SourceModel(module=module)) == of(SourceModel(module=module.to("meta"))) == layers


def test_a_graph(tmp_path):
    weights = {"k": numbers(8, 1, 3, 3), "w": numbers(8, 4)}
    nodes = [("Conv", ["x", "k"], ["y"]), ("MatMul", ["y", "w"], ["z"])]
    shapes = {"x": ["batch", 1, 10, 10]}, {"z": ["batch", 8, 8, 4]}
    assert of(SourceModel(onnx=onnx_file(tmp_path / "a.onnx", nodes, *shapes, weights))) == "convolution"
    weights["w"] = numbers(8, 40)
    assert of(SourceModel(onnx=onnx_file(tmp_path / "b.onnx", nodes, *shapes, weights))) == "linear"


def test_exported_programs_have_weights_too(tmp_path):
    program = torch.export.export(nn.Conv2d(1, 8, 3), (torch.zeros(1, 1, 8, 8),))
    assert of(SourceModel(module=program.module())) == "convolution"
