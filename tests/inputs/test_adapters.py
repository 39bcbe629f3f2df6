"""An adapter that cannot stay beside its model is refused before any work; one that can is copied without paths."""

from __future__ import annotations

import json

import pytest

from quantbento.inputs.adapters import problems, write

LINEARS = {"layers.0.q_proj": (16, 8), "layers.0.v_proj": (4, 8), "lm_head": (32, 8)}


@pytest.fixture
def adapter(tmp_path):
    return write_adapter(tmp_path / "adapter")


def write_adapter(folder, layer="layers.0.q_proj", outputs=16, rank=2, **config):
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    parts = {"A": torch.ones(rank, 8), "B": torch.ones(outputs, rank)}
    names = {f"base_model.model.{layer}.lora_{part}.weight": values for part, values in parts.items()}
    save_file(names, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": "/home/someone/model", "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


def test_one_that_fits_has_no_problems(adapter):
    assert problems(adapter, LINEARS) == []


def test_its_copy_has_the_weights_and_no_path_of_the_machine_it_was_trained_on(adapter, tmp_path):
    assert write({"red": adapter}, tmp_path / "artifact") == {"red": {"rank": 2, "modules": ["q_proj"]}}
    copy = tmp_path / "artifact" / "adapters" / "red"
    assert (copy / "adapter_model.safetensors").read_bytes() == (adapter / "adapter_model.safetensors").read_bytes()
    assert "someone" not in (copy / "adapter_config.json").read_text()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft_type": "IA3"}, "is an adapter of the kind 'IA3'"),
        ({"r": 1000}, "has the rank r=1000; allowed: 1 to 512"),
        ({"use_dora": True}, "has use_dora=True, which cannot stay beside a quantized model; merge it instead"),
        ({"rank_pattern": {"q_proj": 4}}, "has rank_pattern="),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base model too"),
        ({"layer": "layers.9.q_proj"}, "is for another model: 1 of the layers it adapts, as layers.9.q_proj, are no"),
        ({"outputs": 12}, "layers.0.q_proj needs lora_B.weight of [16, 2], not [12, 2]"),
        ({"layer": "lm_head", "outputs": 32}, "adapts lm_head"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_that_does_not_fit_says_why(tmp_path, changes, told):
    [problem] = problems(write_adapter(tmp_path / "adapter", **changes), LINEARS)
    assert told in problem


def test_weights_in_a_pickle_are_refused(adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    [problem] = problems(adapter, LINEARS)
    assert "is a pickle, which runs code" in problem


def test_another_folder_is_no_adapter(tmp_path):
    [problem] = problems(tmp_path, LINEARS)
    assert problem.endswith("is no PEFT adapter: it has no adapter_config.json")
