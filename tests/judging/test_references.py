"""Full-precision models are written, reloaded and measured; an export that computes something else is detected."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError
from quantbento.core.progress import Silent
from quantbento.judging.references import prepare
from quantbento.recipe import Benchmark
from quantbento.runtimes.onnx import OnnxRuntime
from tests.jobs import job_of, numbers, onnx_file
from tests.trained_llama import job_of_trained

FEW = Benchmark(items=4, rounds=3, latency_calls=10, device="cpu")


class Notes(Silent):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def references_of(model, tmp_path, runtimes=("torch",), progress=None, shape=(64,)):
    job = job_of(model, list(numbers(6, *shape)), tmp_path)
    job.progress = progress or Silent()
    return prepare(job, job.samples, [registry.runtime(name) for name in runtimes], FEW, 1)


def names(references):
    assert [row.name for row in references.table()] == [c.name for c in references.all]
    return [c.name for c in references.all]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """References of a small network for variants of both runtimes."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64))
    made = references_of(module, tmp_path_factory.mktemp("job"), ["torch", "onnx"])
    yield made
    made.close()


def test_each_runtime_gets_its_fp32_and_torch_its_bf16(both):
    assert names(both) == ["torch-fp32", "torch-bf16", "onnx-fp32"]
    assert [row.runtime for row in both.table()] == ["torch", "torch", "onnx"]
    assert both.baseline.name == "torch-fp32"


def test_a_variant_is_held_against_fp32_of_its_own_runtime(both):
    assert both.of_runtime("onnx").name == "onnx-fp32"
    assert both.of_runtime("torch").name == "torch-fp32"
    assert both.of_runtime("openvino") is None


def test_sizes_and_metrics_are_relative_to_the_baseline(both):
    fp32, bf16, onnx = both.table()
    assert fp32.size_ratio == 1
    assert 0.5 < bf16.size_ratio < 0.6
    assert 0.9 < onnx.size_ratio < 1.1
    assert fp32.metrics == both.baseline.metrics == {"sqnr_db": 200.0, "max_error": 0.0}
    assert 30 < bf16.metrics["sqnr_db"] < 60
    assert onnx.metrics["sqnr_db"] > 90
    assert both.baseline.size_bytes == fp32.size_bytes


def test_every_row_is_measured(both):
    table = both.table()
    for row in table:
        assert row.throughput > 0
        assert 0 < row.latency_ms["p50"] <= row.latency_ms["p99"]
        assert row.peak_memory_bytes > 10e6
    assert table[0].speedup == {"median": 1, "p10": 1, "p90": 1}
    # A process without torch needs less, and is ready earlier.
    assert table[2].peak_memory_bytes < table[0].peak_memory_bytes
    assert 0 < table[2].load_seconds < table[0].load_seconds


def test_an_onnx_file_is_its_own_baseline(tmp_path):
    """Even one whose weights are in a file beside it, with a name that the user chose."""
    import onnx

    weights = numbers(64, 64)
    path = onnx_file(
        tmp_path / "plain.onnx",
        [("MatMul", ["x", "w"], ["y"])],
        {"x": ["batch", 64]},
        {"y": ["batch", 64]},
        {"w": weights},
    )
    beside = tmp_path / "own.onnx"
    onnx.save(onnx.load(path), beside, save_as_external_data=True, location="own-weights.bin", size_threshold=0)
    made = references_of(beside, tmp_path, ["onnx"])
    assert names(made) == ["onnx-fp32"]
    np.testing.assert_allclose(made.rows["y"], numbers(6, 64) @ weights, rtol=1e-4, atol=1e-4)
    assert made.baseline.size_bytes > weights.nbytes


def test_a_model_that_cannot_run_in_bf16_does_without(tmp_path):
    class Float32Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 4)

        def forward(self, x):
            return self.linear(x) @ torch.eye(4)

    notes = Notes()
    made = references_of(Float32Inside(), tmp_path, progress=notes)
    assert names(made) == ["torch-fp32"]
    assert notes.said[0].startswith("torch-bf16: left out: ")


def test_an_export_that_computes_something_else_is_refused(tmp_path):
    class Exported(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 4)

        def forward(self, x):
            return self.linear(x) * (2 if torch.compiler.is_exporting() else 1)

    made = references_of(Exported(), tmp_path, ["onnx"])
    assert names(made) == ["torch-fp32", "torch-bf16"]
    assert made.refused["onnx"].startswith("onnx-fp32 does not compute what the original does: 0 dB apart, 40")
    assert "torch" not in made.refused


def test_a_baseline_that_is_not_finite_ends_the_run(tmp_path):
    class Broken(nn.Module):
        def forward(self, x):
            return x / 0

    with pytest.raises(QuantbentoError, match="the full-precision model gives NaN or infinity"):
        references_of(Broken(), tmp_path)


class WithoutReference(OnnxRuntime):
    """A runtime that has no full precision."""

    name = "without-reference"
    runs = ()

    @classmethod
    def write_reference(cls, job, folder, dtype):
        return None


def test_a_runtime_without_full_precision_is_told_and_not_replaced_by_the_baseline(tmp_path):
    notes = Notes()
    job = job_of(nn.Linear(64, 4), list(numbers(6, 64)), tmp_path)
    job.progress = notes
    made = prepare(job, job.samples, [WithoutReference], FEW, 1)
    assert names(made) == ["torch-fp32", "torch-bf16"]
    assert made.of_runtime("without-reference") is None
    assert made.missing == ["without-reference"] and made.refused == {}
    [told] = [note for note in notes.said if note.startswith("without-reference: ")]
    assert told.endswith("there is no full precision in this runtime; its variants are compared with the baseline only")
    made.close()


def test_every_runtime_of_the_project_writes_full_precision(trained_llama, tmp_path):
    """For the kinds of models that each runtime runs; but for those whose converter has an environment of its own, and
    the one that runs some models of some tasks only (tests/runtimes/test_vllm_pooling.py)."""
    jobs = {"arrays": job_of(nn.Linear(64, 4), list(numbers(6, 64)), tmp_path)}
    jobs["tokens"] = job_of_trained(trained_llama, tmp_path)
    for name in registry.RUNTIMES.keys() - {"litert", "llama-cpp", "vllm-pooling"}:
        runtime = registry.runtime(name)
        folder = tmp_path / name
        folder.mkdir()
        job = jobs[runtime.contract]
        assert runtime.write_reference(job, folder, job.source.dtype or "float32") is not None
        assert any(folder.iterdir())


def test_compiled_full_precision_is_measured_where_it_is_asked_for(tmp_path, monkeypatch):
    """What compiles is not tested here: it takes a minute."""
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: compiled.append((type(module), options)))
    job = job_of(nn.Sequential(nn.Linear(64, 64)), list(numbers(6, 64)), tmp_path)
    settings = FEW.model_copy(update={"compile": True, "memory": False})
    made = prepare(job, job.samples, [registry.runtime(name) for name in ("torch", "onnx")], settings, 1)
    assert names(made) == ["torch-fp32", "torch-bf16", "torch-compiled-bf16", "onnx-fp32"]
    assert compiled == [(nn.Sequential, {"dynamic": True})]
    made.close()
