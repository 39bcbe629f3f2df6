"""What a written checkpoint holds is counted, and less than the scheme says is an error."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.quantizers.llm import counted
from quantbento.quantizers.llm.schemes import SCHEMES

LINEARS = {"a.up": (256, 128), "a.down": (128, 256)}


@pytest.fixture
def facts(tmp_path):
    return CheckpointFacts(tmp_path, LINEARS, parameters=100_000)


def write(folder, scheme, **changed):
    """Both layers in a scheme: its tensors, in their true shapes where that matters."""
    tensors = {}
    for name, (out, inputs) in LINEARS.items():
        group = scheme.group if scheme.group and scheme.group > 0 else inputs
        shape = (out // scheme.block, inputs // group)
        parts = {"weight_packed": torch.zeros(out, inputs // 2, dtype=torch.uint8), "weight_scale": torch.zeros(shape)}
        parts |= {kind: torch.zeros(1) for kind in scheme.also}
        tensors |= {f"{name}.{kind}": t for kind, t in parts.items()}
    tensors |= {name.replace("__", "."): tensor for name, tensor in changed.items()}
    save_file({k: t for k, t in tensors.items() if t is not None}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "scales"), [("FP8_DYNAMIC", 256 + 128), ("FP8_BLOCK", 2 + 2), ("NVFP4", 4096), ("MXFP4", 2048)]
)
def test_tensors_and_scales_are_counted(facts, tmp_path, name, scales):
    scheme = SCHEMES[name]
    write(tmp_path, scheme)
    told = counted.layers(facts, tmp_path, LINEARS, scheme, scheme.group)
    assert told.startswith(f"2 layers in {name}: ")
    assert f"2 weight_scale ({scales:,} scales)" in told
    assert all(f"2 {kind}" in told for kind in scheme.also)


def test_a_missing_tensor_is_an_error(facts, tmp_path):
    write(tmp_path, SCHEMES["NVFP4"], a__down__input_global_scale=None)
    with pytest.raises(QuantbentoError, match=r"'a\.down' has no input_global_scale in what was written as NVFP4"):
        counted.layers(facts, tmp_path, LINEARS, SCHEMES["NVFP4"], 16)


def test_too_few_scales_are_an_error(facts, tmp_path):
    write(tmp_path, SCHEMES["MXFP4"], a__up__weight_scale=torch.zeros(256, 1))
    with pytest.raises(QuantbentoError, match=r"'a\.up' has 256 scales in what was written; MXFP4 has 1,024"):
        counted.layers(facts, tmp_path, LINEARS, SCHEMES["MXFP4"], 32)


def test_scales_of_the_kv_cache_are_counted(tmp_path):
    scales = {f"layers.{i}.self_attn.{kind}_scale": torch.ones(1) for i in range(3) for kind in "kv"}
    save_file(scales, tmp_path / "model.safetensors")
    assert counted.kv_cache(tmp_path) == "KV cache in FP8: 3 k_scale, 3 v_scale"
    save_file(dict(list(scales.items())[:-1]), tmp_path / "model.safetensors")
    with pytest.raises(QuantbentoError, match="the KV cache has 3 k_scale and 2 v_scale"):
        counted.kv_cache(tmp_path)
