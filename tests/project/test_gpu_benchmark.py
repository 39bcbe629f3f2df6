"""benchmarks/gpu.py: a run of the whole script on a CPU, and the checkpoints that it makes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from benchmarks import gpu, gpu_checkpoints
from quantbento.core.errors import QuantbentoError
from tests.conftest import ROOT


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.server
def test_every_line_runs_on_a_cpu(trained_llama, tmp_path):
    output = tmp_path / "figures.json"
    options = ["--device", "cpu", "--tiny", "--trained", str(trained_llama), "--output", str(output)]
    command = [sys.executable, "-m", "benchmarks.gpu", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(output.read_text())
    schemes = {row["scheme"]: row for row in figures["schemes"]}
    assert list(schemes) == ["BF16", "FP8", "W8A8", "W4A16"]
    made = {name: row for name, row in schemes.items() if row["left_out"] is None}
    assert made.keys() >= {"BF16", "W8A8", "W4A16"}
    for row in made.values():
        assert row["tokens_per_second"].keys() == {"1", "2"}
        assert min(row["tokens_per_second"].values()) > 0
        assert row["memory_bytes"] > row["weight_bytes"] > 0
        assert row["perplexity"] == pytest.approx(schemes["BF16"]["perplexity"], rel=0.05)
    sizes = [made[name]["weight_bytes"] for name in ("BF16", "W8A8", "W4A16")]
    assert sizes == sorted(sizes, reverse=True)
    names = {row["name"] for row in figures["encoders"]}
    assert {"torch-fp32", "onnx-fp32", "onnx-w8", "torchao-w8", "served: gpu-encoder-onnx-w8"} <= names
    assert all(row["texts_per_second"] > 0 for row in figures["encoders"])
    assert "perplexity" in done.stdout


def test_without_a_gpu_it_says_how_to_try_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(QuantbentoError, match=r"vLLM's builds are for one device each|there is no NVIDIA GPU"):
        gpu.main()


def test_random_weights_are_a_checkpoint_and_w8a8_rounds_its_layers(trained_llama, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_checkpoints, "SHARD_BYTES", 200_000)
    source = gpu_checkpoints.random_llama("tiny", trained_llama, tmp_path / "bf16", "cpu")
    index = json.loads((source / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    tensors = {k: v for file in source.glob("*.safetensors") for k, v in load_file(file).items()}
    assert tensors.keys() == index["weight_map"].keys()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    gpu_checkpoints.w8a8(source, tmp_path / "w8a8")
    rounded = {k: v for file in (tmp_path / "w8a8").glob("*.safetensors") for k, v in load_file(file).items()}
    name = "model.layers.0.mlp.up_proj.weight"
    assert str(rounded[name].dtype) == "torch.int8"
    back = rounded[name].float() * rounded[f"{name}_scale"].float()
    assert (back - tensors[name].float()).abs().max() <= rounded[f"{name}_scale"].float().max() * 0.51
    assert rounded["lm_head.weight"].equal(tensors["lm_head.weight"])
