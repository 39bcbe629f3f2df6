"""Quantized layers are counted in the written checkpoint, and a worker that fails gives one clear line."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from quantbento.core import isolated, registry
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.quantizers.llm.checkpoint_quantizer import CheckpointOptions, choose, count
from quantbento.recipe import ModelSpec
from tests.jobs import load_source
from tests.trained_llama import job_of_trained

LAYERS = {"layers.0.up": (64, 32), "layers.0.down": (32, 64), "lm_head": (100, 32)}


@pytest.fixture
def facts(tmp_path):
    return checkpoint.CheckpointFacts(tmp_path, LAYERS, parameters=10_000)


def write(folder, *packed):
    """A checkpoint in which these layers take 4 bits per weight and 2 bytes of scale per row, the others 16 bits."""
    tensors = {}
    for name, (out, inputs) in LAYERS.items():
        if name in packed:
            tensors[f"{name}.weight_packed"] = torch.zeros(out, inputs // 8, dtype=torch.int32)
            tensors[f"{name}.weight_scale"] = torch.zeros(out, 1, dtype=torch.bfloat16)
        else:
            tensors[f"{name}.weight"] = torch.zeros(out, inputs, dtype=torch.bfloat16)
    save_file(tensors, folder / "model.safetensors")


def test_patterns_keep_layers_in_16_bit(facts):
    assert choose(facts, CheckpointOptions()) == ["layers.0.up", "layers.0.down"]
    assert choose(facts, CheckpointOptions(ignore=[])) == list(LAYERS)
    assert choose(facts, CheckpointOptions(ignore=["*.up", "lm_*"])) == ["layers.0.down"]
    with pytest.raises(QuantbentoError, match="ignore leaves none of the 3 linear layers"):
        choose(facts, CheckpointOptions(ignore=["*"]))


def test_the_result_is_counted_not_what_was_asked_for(facts, tmp_path):
    write(tmp_path, "layers.0.up")
    done = count(facts, ["layers.0.up", "layers.0.down"], tmp_path, "W4A16")
    assert done.counts == {"W4A16 layers": 1}
    assert done.left_out == ["layers.0.down"]
    assert (done.quantized_parameters, done.parameters) == (64 * 32, 10_000)
    assert done.weight_ratio == (64 * 32 / 2 + 64 * 2) / (2 * 64 * 32)


def test_nothing_quantized_is_an_error(facts, tmp_path):
    write(tmp_path)
    with pytest.raises(QuantbentoError, match="none of the 2 chosen layers is quantized in what was written"):
        count(facts, ["layers.0.up", "layers.0.down"], tmp_path, "W4A16")


@pytest.mark.parametrize(
    ("quantizer", "options", "expected"),
    [
        ("rtn", {"format": "awq"}, {"method": "rtn", "format": "auto_awq", "iterations": 0}),
        ("awq", {"group_size": 64}, {"method": "awq", "format": "llm_compressor", "group_size": 64}),
        ("autoround", {"iterations": 7, "seed": 3}, {"method": "autoround", "iterations": 7, "seed": 3}),
        ("autoround", {"scheme": "W4A16_ASYM"}, {"scheme": "W4A16_ASYM", "iterations": 200}),
        ("gptq", {"dampening": 0.05, "group_size": -1}, {"method": "gptq", "dampening": 0.05, "group_size": -1}),
        ("smoothquant", {"smoothing_strength": 0.5}, {"scheme": "W8A8", "smoothing_strength": 0.5}),
    ],
)
def test_the_worker_gets_the_options_and_exact_names(
    trained_llama, tmp_path, monkeypatch, quantizer, options, expected
):
    given = {}

    def run(python, script, job, on_progress):
        given.update(job, calibration=job["calibration"] and np.load(job["calibration"]), script=script.name)
        raise QuantbentoError("seen enough")

    monkeypatch.setattr(isolated, "run", run)
    monkeypatch.setattr(isolated, "environment", lambda requirements, say: None)
    method = registry.quantizer(quantizer)()
    job = job_of_trained(trained_llama, tmp_path, sequences=3, tokens=8)
    with pytest.raises(QuantbentoError, match="seen enough"):
        method.quantize(job, method.Options(**options, ignore=["lm_head", "*.1.*.o_proj"]), tmp_path)
    assert given.items() >= expected.items()
    assert given["ignore"] == ["lm_head", "model.layers.1.self_attn.o_proj"]
    assert (given["model"], given["output"]) == (str(trained_llama), str(tmp_path))
    if quantizer == "rtn":
        assert given["calibration"] is None
    else:
        np.testing.assert_array_equal(given["calibration"], job.calibration)


@pytest.mark.slow
def test_a_worker_that_fails_is_one_line(trained_llama, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(trained_llama, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    job = job_of_trained(trained_llama, tmp_path)
    job.source = load_source(ModelSpec(path=broken), "text-generation")
    method = registry.quantizer("awq")()
    with pytest.raises(QuantbentoError, match=r"^autoround: SafetensorError: .+$") as caught:
        method.quantize(job, method.Options(), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantizer", "options"),
    [("rtn", {}), ("awq", {}), ("autoround", {"iterations": 10}), ("gptq", {}), ("smoothquant", {}), ("bnb-nf4", {})],
)
def test_the_users_folder_is_not_written_to(made, quantizer, options):
    assert made(quantizer, **options).source_is_untouched
