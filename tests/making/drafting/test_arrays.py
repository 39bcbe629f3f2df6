"""Inputs that a model takes are made up from what it declares, or from its first weights, and tried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from quantbento.core.errors import QuantbentoError
from quantbento.making.drafting import arrays
from quantbento.tasks.source import SourceModel
from quantbento.tasks.tensor import TensorTask
from tests.jobs import numbers, onnx_file


def shapes(source: SourceModel) -> dict[str, tuple[int, ...]]:
    items = arrays.made_up(source, TensorTask, TensorTask.Options())
    assert len(items) == arrays.COUNT
    assert any(not np.array_equal(items[0][name], items[1][name]) for name in items[0])
    return {name: array.shape for name, array in items[0].items()}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 8, batch_first=True)

    def forward(self, frames: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        return self.layer(frames, start)[0][:, -1]


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(50, 8), nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(ids).mean(1))


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (nn.Sequential(nn.Linear(7, 3)), {"input": (7,)}),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)), {"input": (3, 224, 224)}),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 2)), {"input": (1, 28, 28)}),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.AdaptiveAvgPool1d(1)), {"input": (2, 224)}),
        (Recurrent(), {"frames": (16, 6)}),
        (Words(), {"ids": (16,)}),
    ],
    ids=["features", "image", "image-of-one-size", "signal", "sequence", "words"],
)
def test_of_a_module(module, found):
    assert shapes(SourceModel(module=module.eval())) == found


def test_of_a_graph(tmp_path):
    nodes = [("MatMul", ["x", "w"], ["wide"]), ("Add", ["wide", "shift"], ["y"])]
    path = onnx_file(
        tmp_path / "m.onnx",
        nodes,
        {"x": ["batch", "steps", 4], "shift": ["batch", 1, 5]},
        {"y": ["batch", "steps", 5]},
        {"w": numbers(4, 5)},
    )
    assert shapes(SourceModel(onnx=path)) == {"x": (16, 4), "shift": (1, 5)}


def test_of_a_graph_of_images_of_any_size(tmp_path):
    path = onnx_file(
        tmp_path / "m.onnx",
        [("Conv", ["x", "w"], ["y"])],
        {"x": ["batch", 3, "height", "width"]},
        {"y": ["batch", 2, "h", "w"]},
        {"w": numbers(2, 3, 3, 3)},
    )
    assert shapes(SourceModel(onnx=path)) == {"x": (3, 224, 224)}


def test_of_a_graph_with_a_state_whose_batch_is_not_first(tmp_path):
    path = onnx_file(
        tmp_path / "m.onnx",
        [("MatMul", ["x", "w"], ["wide"]), ("ReduceSum", ["state", "first"], ["sum"]), ("Add", ["wide", "sum"], ["y"])],
        {"x": ["n", 4], "state": [2, "n", 5]},
        {"y": ["n", 5]},
        {"w": numbers(4, 5), "first": np.asarray([0], np.int64)},
    )
    model = onnx.load(path)
    next(n for n in model.graph.node if n.op_type == "ReduceSum").attribute.append(
        onnx.helper.make_attribute("keepdims", 0)
    )
    onnx.save(model, path)
    assert shapes(SourceModel(onnx=path)) == {"x": (4,), "state": (2, 5)}


class Picky(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left @ right


def test_what_cannot_be_told_is_asked_for(tmp_path):
    with pytest.raises(QuantbentoError, match=r"cannot be told from the model alone .* name samples with --evaluation"):
        shapes(SourceModel(module=Picky()))
    path: Path = onnx_file(
        tmp_path / "m.onnx", [("MatMul", ["x", "w"], ["y"])], {"x": ["a", "b"]}, {"y": ["a", 5]}, {"w": numbers(40, 5)}
    )
    with pytest.raises(QuantbentoError, match=r"cannot be told .*does not run on inputs"):
        shapes(SourceModel(onnx=path))
