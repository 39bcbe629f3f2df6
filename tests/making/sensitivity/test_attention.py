from __future__ import annotations

import copy

import numpy as np
import pytest

from quantbento.making.sensitivity.attention import of_module, of_onnx, similarities
from tests.jobs import text_job


def test_equal_maps_are_1_and_padding_does_not_count():
    maps = np.full((1, 1, 2, 2), 0.5, np.float32)
    other = maps.copy()
    other[0, 0, 1] = [1, 0]
    assert similarities({"0": maps}, {"0": maps}, None) == [{"layer": "0", "similarity": pytest.approx(1)}]
    assert similarities({"0": maps}, {"0": other}, np.array([[1, 0]]))[0]["similarity"] == pytest.approx(1)
    expected = (1 + np.sqrt(0.5)) / 2
    assert similarities({"0": maps}, {"0": other}, None)[0]["similarity"] == pytest.approx(expected)


def test_an_encoder_and_its_graph_attend_alike(tiny_encoder, tmp_path):
    import torch

    job = text_job(tiny_encoder, "feature-extraction", ["the film"], tmp_path)
    batch = job.task.collate([job.task.encode("the film was good"), job.task.encode("a book")])
    module = job.source.module
    before = module.config._attn_implementation
    of_torch = of_module(module, {name: torch.as_tensor(value) for name, value in batch.items()})
    assert list(of_torch) == ["0", "1"]
    assert module.config._attn_implementation == before
    alike = similarities(of_torch, of_onnx(job.onnx(), batch), batch["attention_mask"])
    assert [layer["similarity"] for layer in alike] == pytest.approx([1, 1], abs=1e-5)
    changed = copy.deepcopy(module)
    with torch.no_grad():
        changed.encoder.layer[1].attention.self.query.weight.mul_(100)
    found = of_module(changed, {name: torch.as_tensor(value) for name, value in batch.items()})
    first, second = (layer["similarity"] for layer in similarities(of_torch, found, batch["attention_mask"]))
    assert first == pytest.approx(1)
    assert second < 0.95


def test_a_module_without_attention_has_no_maps():
    import torch

    assert of_module(torch.nn.Linear(2, 2), {}) == {}
