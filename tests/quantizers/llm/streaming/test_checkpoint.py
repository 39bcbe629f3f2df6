"""What is written is a checkpoint in hub format that says how it is quantized."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

from quantbento.inputs.checkpoint import INDEX
from quantbento.quantizers.llm.streaming.checkpoint import assemble, quantization_config


def test_shards_come_with_an_index_and_the_sources_small_files(tmp_path):
    source, state, folder = (tmp_path / name for name in ("source", "state", "made"))
    for place in (source, state, folder):
        place.mkdir()
    for name in ("config.json", "tokenizer.json", "modeling_own.py", INDEX, "notes.md"):
        (source / name).write_text("{}")
    for name in "ab":
        save_file({name: torch.zeros(4)}, state / f"{name}.safetensors")
    places = {"b": "b.safetensors", "a": "a.safetensors"}
    assemble(source, state, ["a.safetensors", "b.safetensors"], places, folder)
    found = {path.name for path in folder.iterdir()}
    assert found == {"config.json", "tokenizer.json", "modeling_own.py", INDEX, "a.safetensors", "b.safetensors"}
    index = json.loads((folder / INDEX).read_text())
    assert index == {"metadata": {"total_size": 32}, "weight_map": places}


def test_compressed_tensors_reads_the_configuration():
    from compressed_tensors.quantization import QuantizationConfig

    schemes = {"a": "W4A16_ASYM", "b": "W4A16_ASYM", "c": "W8A8"}
    config = QuantizationConfig.model_validate(quantization_config(schemes, 64, ["lm_head"]))
    assert config.format == "mixed-precision" and config.ignore == ["lm_head"]
    eight, four = config.config_groups.values()
    assert eight.targets == ["c"] and eight.input_activations.dynamic and eight.weights.num_bits == 8
    assert four.targets == ["Linear"] and (four.weights.group_size, four.weights.symmetric) == (64, False)
    assert quantization_config({"a": "FP8_DYNAMIC"}, 128, [])["format"] == "float-quantized"
