from __future__ import annotations

import numpy as np
import pytest

from quantbento.making.sensitivity.activations import figures, of_modules, of_nodes
from tests.jobs import job_of


def test_the_largest_channel_over_the_median():
    found = figures(np.array([1.0, 2.0, 60.0], np.float32))
    assert found == {"max_abs": 60.0, "outlier_ratio": 30.0, "large_channels": 1}


def test_a_module_and_its_graph_tell_the_same(tmp_path):
    import torch
    from torch import nn

    from quantbento.quantizers.onnx.base import Graph

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    batches = [np.random.default_rng(n).normal(size=(3, 4)).astype(np.float32) for n in range(2)]
    batches[0][0, 1] = -50
    job = job_of(module, list(batches[0]), tmp_path)
    (name,) = job.task.input_names
    of_torch = of_modules(module, {"a": "0", "b": "2"}, [{name: torch.as_tensor(b)} for b in batches])
    assert of_torch["a"]["max_abs"] == 50
    model = Graph.of(job).model
    nodes = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    of_graph = of_nodes(model, nodes, [{name: b} for b in batches])
    for own, other in zip(of_torch.values(), of_graph.values(), strict=True):
        assert own == pytest.approx(other, rel=1e-4)


def test_a_convolution_has_its_channels_first():
    import torch
    from torch import nn

    image = torch.zeros(1, 3, 2, 2)
    image[0, 1, 0, 1] = -7
    image[0, 0] = image[0, 2] = 0.5
    found = of_modules(nn.Sequential(nn.Conv2d(3, 1, 1)), {"c": "0"}, [{"input": image}])
    assert found["c"] == {"max_abs": 7.0, "outlier_ratio": 14.0, "large_channels": 1}
