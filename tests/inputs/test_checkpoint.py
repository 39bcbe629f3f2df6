"""What is known about a checkpoint before its weights are read, and what a quantized one holds."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint

LAYER = "model.layers.0.mlp.up_proj"


@pytest.fixture
def folder(tmp_path):
    """Two files of a checkpoint."""
    first = {
        f"{LAYER}.weight_packed": torch.zeros(8, 2, dtype=torch.int32),
        f"{LAYER}.weight_scale": torch.zeros(8, 1, dtype=torch.bfloat16),
        f"{LAYER}.bias": torch.zeros(8, dtype=torch.bfloat16),
        f"{LAYER}_other.weight": torch.zeros(4, dtype=torch.int8),
    }
    second = {
        "lm_head.weight": torch.zeros(4, 8, dtype=torch.bfloat16),
        "head.int8.weight": torch.zeros(4, 8, dtype=torch.int8),
        "head.int8.SCB": torch.zeros(4),
    }
    save_file(first, tmp_path / "model-1.safetensors", metadata={"format": "pt"})
    save_file(second, tmp_path / "model-2.safetensors")
    return tmp_path


def test_a_models_layers_are_known_without_its_weights(trained_llama, tmp_path):
    shutil.copy(trained_llama / "config.json", tmp_path)
    facts = checkpoint.inspect(tmp_path)
    assert len(facts.linears) == 15
    assert facts.linears["model.layers.1.self_attn.k_proj"] == (128, 256)
    assert facts.linears["model.layers.0.mlp.down_proj"] == (256, 512)
    weights = checkpoint.tensors(trained_llama)
    assert facts.size_bytes == sum(2 * torch.Size(shape).numel() for _, shape in weights.values())


def test_an_enormous_model_takes_no_memory(trained_llama, tmp_path):
    config = json.loads((trained_llama / "config.json").read_text())
    config |= {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
    config |= {"num_key_value_heads": 8, "vocab_size": 128256, "head_dim": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert 70e9 < checkpoint.inspect(tmp_path).parameters < 71e9


@pytest.mark.parametrize(
    "config", [None, "{", '{"model_type": "nobodys"}', '{"model_type": "vit"}'], ids=["none", "broken", "own", "vision"]
)
def test_what_is_no_language_model_is_one_clear_line(tmp_path, config):
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(QuantbentoError, match=r"is no causal language model in hub format: .+$") as caught:
        checkpoint.inspect(tmp_path)
    assert "\n" not in str(caught.value)


def test_tensors_are_listed_from_every_files_header(folder):
    found = checkpoint.tensors(folder)
    assert found[f"{LAYER}.weight_packed"] == ("I32", [8, 2])
    assert found["lm_head.weight"] == ("BF16", [4, 8])
    assert len(found) == 7


def test_bytes_of_quantized_layers_are_weights_and_scales(folder):
    layers = [LAYER, "lm_head", "head.int8", "not.there"]
    assert checkpoint.quantized_bytes(folder, layers) == {LAYER: 8 * 2 * 4 + 8 * 2, "head.int8": 4 * 8 + 4 * 4}
