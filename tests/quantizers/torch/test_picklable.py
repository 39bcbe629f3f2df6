"""One stored model, two loaders: this project's, and BentoML's deprecated one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from quantbento import store
from quantbento.core.errors import QuantbentoError
from quantbento.making import pipeline
from quantbento.quantizers.torch.picklable import Picklable
from quantbento.recipe import load_recipe
from tests.jobs import job_of, numbers, quantized

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deprecated")

MODULES = """
import numpy as np
import torch
from torch import nn

class Theirs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))

def samples():
    return list(np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32))
"""
RECIPE = """
schema_version: 1
name: again
task: tensor
model: {{picklable: {tag}, trusted: true}}
evaluation: {{factory: "modules_of_picklable_tests:samples"}}
benchmark: {{items: 4, rounds: 3, latency_calls: 10, memory: false}}
variants:
  - {{name: pickle, quantizer: picklable, gates: {{min: {{sqnr_db: 20}}}}}}
"""


def test_both_loaders_give_the_same(tmp_path, bento_home):
    import bentoml

    torch.manual_seed(0)
    module, inputs = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval(), numbers(20, 8)
    job = job_of(module, list(inputs), tmp_path)
    done, predictor = quantized(job, "picklable", tmp_path / "int8")
    same, _ = quantized(job, "torch-dynamic", tmp_path / "dynamic")
    assert (done.counts, done.quantized_parameters) == (same.counts, same.quantized_parameters)
    assert "quantbento.load(tag) takes its place" in done.notes[0]
    assert sorted(p.name for p in (tmp_path / "int8").iterdir()) == ["artifact.json", "saved_model.pkl"]
    for name in ("int8", "dynamic"):
        store.save(name, tmp_path / name, {}, {}, {})
    theirs = bentoml.picklable_model.load_model("int8:latest")
    assert type(theirs[0]) is torch.ao.nn.quantized.dynamic.Linear
    expected = np.stack(predictor(list(inputs)))
    np.testing.assert_array_equal(theirs(torch.from_numpy(inputs)).numpy(), expected)
    np.testing.assert_array_equal(np.stack(store.load("int8")(list(inputs))), expected)
    with pytest.raises(bentoml.exceptions.NotFound):
        bentoml.picklable_model.load_model("dynamic:latest")


def test_a_file_that_was_changed_is_not_loaded(tmp_path, bento_home):
    job = job_of(nn.Sequential(nn.Linear(8, 4)).eval(), list(numbers(4, 8)), tmp_path)
    quantized(job, "picklable", tmp_path / "int8")
    stored = store.save("int8", tmp_path / "int8", {}, {}, {})
    with (stored.path / "saved_model.pkl").open("ab") as file:
        file.write(b" ")
    with pytest.raises(QuantbentoError, match=r"saved_model\.pkl"):
        store.load("int8")


def test_torchscript_has_no_pickle(tmp_path):
    module = torch.jit.script(nn.Sequential(nn.Linear(8, 4)).eval())
    with pytest.raises(QuantbentoError, match="TorchScript cannot be pickled; use torch-dynamic"):
        quantized(job_of(module, list(numbers(4, 8)), tmp_path), "picklable", tmp_path / "int8")
    assert Picklable().preflight_module(module, Picklable.Options())
    assert Picklable().preflight_module(nn.Sequential(nn.Linear(8, 4)), Picklable.Options()) == []


def test_a_round_trip_through_a_recipe(tmp_path, bento_home, monkeypatch):
    """Stored by BentoML's old way, quantized from there, and loaded by the old way again."""
    import importlib

    import bentoml

    (tmp_path / "modules_of_picklable_tests.py").write_text(MODULES)
    monkeypatch.syspath_prepend(tmp_path)
    modules = importlib.import_module("modules_of_picklable_tests")
    theirs = modules.Theirs().eval()
    tag = bentoml.picklable_model.save_model("theirs", theirs).tag
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(tag=tag))
    report = pipeline.save(load_recipe(tmp_path / "recipe.yaml"), output=tmp_path / "reports")
    (variant,) = report.variants
    assert report.exit_code == 0, variant.error
    int8, x = bentoml.picklable_model.load_model(variant.tag), torch.from_numpy(np.stack(modules.samples()))
    with torch.no_grad():
        torch.testing.assert_close(int8(x), theirs(x), atol=0.05, rtol=0)
    assert store.find(variant.tag).manifest["source"]["picklable"] == str(tag)
