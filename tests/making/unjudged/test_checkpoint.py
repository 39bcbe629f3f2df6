"""A checkpoint that is right passes, and each way in which one can be broken is found and named."""

from __future__ import annotations

import json
import shutil

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.making.unjudged.checkpoint import check
from tests.making.unjudged import compressed

GATE = "model.layers.0.mlp.gate_proj"


def nothing(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.mark.parametrize(
    ("scheme", "least", "most"),
    [
        ("W4A16", 18, 22),
        ("W4A16_ASYM", 18, 22),
        ("W8A16", 40, 46),
        ("W8A8", 38, 46),
        ("FP8_DYNAMIC", 30, 33),
    ],
)
def test_every_layer_is_near_the_source(small_llama, tmp_path, scheme, least, most):
    made = compressed.write(small_llama, tmp_path / "made", scheme)
    found = check(made, small_llama, nothing).report()
    assert (found["files"], found["layers"], found["notes"]) == (1, 7, [])
    reconstruction = found["reconstruction"]
    assert reconstruction["layers"] == 7 and not reconstruction["up_to_scales"]
    assert least < reconstruction["sqnr_db"]["min"] <= reconstruction["sqnr_db"]["median"] < most
    assert len(reconstruction["worst"]) == 5
    errors = [layer["relative_error"] for layer in reconstruction["worst"]]
    assert errors == sorted(errors, reverse=True) and errors[0] == reconstruction["relative_error"]["max"]


def unpacked(folder, source) -> None:
    """The gate's weights as in the source, though the configuration calls it quantized."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    for part in ("weight_packed", "weight_scale", "weight_shape"):
        del tensors[f"{GATE}.{part}"]
    tensors[f"{GATE}.weight"] = load_file(source / "model.safetensors")[f"{GATE}.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


DAMAGE = {
    "a scale is missing": ({f"{GATE}.weight_scale": None}, f"{GATE}.weight_scale is missing"),
    "a scale has another shape": (
        {f"{GATE}.weight_scale": lambda t: t[:-1]},
        rf"{GATE}.weight_scale is bfloat16 \(127, 1\), not bfloat16 \(128, 1\)",
    ),
    "packed values have another type": (
        {f"{GATE}.weight_packed": lambda t: t.long()},
        rf"{GATE}.weight_packed is int64 \(128, 16\), not int32 \(128, 16\)",
    ),
    "a scale is not finite": (
        {f"{GATE}.weight_scale": lambda t: t / 0},
        f"{GATE}.weight_scale holds NaN or infinity",
    ),
    "scales are twice as large": (
        {f"{GATE}.weight_scale": lambda t: t * 2},
        rf"{GATE}: its weights are 1 of the source's away from them \(SQNR -?0.\d dB; 4 bit have at least 6 dB\)",
    ),
    "rows are shuffled": ({f"{GATE}.weight_packed": lambda t: t.flip(0)}, f"{GATE}: its weights are 1.4 of the"),
    "a norm is missing": ({"model.norm.weight": None}, "model.norm.weight is missing"),
    "the embedding is another": (
        {"model.embed_tokens.weight": lambda t: t.flip(0)},
        "model.embed_tokens.weight is not quantized, and 1.4 of the source's values away from them",
    ),
    "the head has another type": (
        {"lm_head.weight": lambda t: t.char()},
        r"lm_head.weight is int8 \(64, 128\); it is not quantized, and \(64, 128\) in the source",
    ),
}


@pytest.mark.parametrize(("changes", "told"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found(small_llama, int4, tmp_path, changes, told):
    made = shutil.copytree(int4, tmp_path / "made")
    compressed.change(made, changes)
    with pytest.raises(QuantbentoError, match=f"that was written is not right:\n(.*\n)*  - {told}"):
        check(made, small_llama, nothing)


def test_a_layer_that_was_left_out_is_found(small_llama, int4, tmp_path):
    made = shutil.copytree(int4, tmp_path / "made")
    unpacked(made, small_llama)
    with pytest.raises(QuantbentoError, match=f"{GATE}.weight_packed is missing"):
        check(made, small_llama, nothing)


def test_many_problems_are_cut_and_counted(small_llama, int4, tmp_path):
    made = shutil.copytree(int4, tmp_path / "made")
    (made / "model.safetensors").unlink()
    compressed.change(shutil.copytree(small_llama, tmp_path / "other"), {"lm_head.weight": None})
    shutil.copyfile(tmp_path / "other" / "model.safetensors", made / "model.safetensors")
    with pytest.raises(QuantbentoError) as raised:
        check(made, small_llama, nothing)
    assert str(raised.value).splitlines()[-1] == "  - ... and 2 more"  # three tensors of each of seven layers, the head


@pytest.mark.parametrize(
    ("quantization", "told"),
    [
        (None, "config.json has no quantization_config"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"targets": 7}}},
            "quantization_config cannot be",
        ),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "quantization_config names no layer"),
    ],
)
def test_a_configuration_that_no_loader_reads_is_found(small_llama, int4, tmp_path, quantization, told):
    made = shutil.copytree(int4, tmp_path / "made")
    config = json.loads((made / "config.json").read_text())
    del config["quantization_config"]
    (made / "config.json").write_text(
        json.dumps(config | ({"quantization_config": quantization} if quantization else {}))
    )
    with pytest.raises(QuantbentoError, match=told):
        check(made, small_llama, nothing)


def test_scales_between_layers_are_no_error_where_the_method_moves_them(small_llama, int4, tmp_path):
    import torch

    smooth = torch.linspace(0.25, 4, 128).bfloat16()
    source = shutil.copytree(small_llama, tmp_path / "scaled")
    names = [f"model.layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    compressed.change(source, dict.fromkeys(names, lambda t: t * smooth))
    compressed.change(source, {"model.layers.0.input_layernorm.weight": lambda t: t / smooth})
    made = compressed.write(source, tmp_path / "made")
    with pytest.raises(QuantbentoError, match=r"input_layernorm.weight is not quantized"):
        check(made, small_llama, nothing)
    found = check(made, small_llama, nothing, up_to_scales=True).report()["reconstruction"]
    assert found["up_to_scales"] and found["sqnr_db"]["min"] > 14


def test_a_tied_head_is_not_missed(small_llama, int4, tmp_path):
    made = shutil.copytree(int4, tmp_path / "made")
    compressed.change(made, {"lm_head.weight": None})
    with pytest.raises(QuantbentoError, match=r"lm_head.weight is missing"):
        check(made, small_llama, nothing)
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert check(made, small_llama, nothing).layers == 7


def test_scales_of_a_quantized_cache_are_asked_for(small_llama, int4, tmp_path):
    made = shutil.copytree(int4, tmp_path / "made")
    config = json.loads((made / "config.json").read_text())
    config["quantization_config"]["kv_cache_scheme"] = {"num_bits": 8, "type": "float", "strategy": "tensor"}
    (made / "config.json").write_text(json.dumps(config))
    with pytest.raises(QuantbentoError, match=r"self_attn.k_scale is missing, though kv_cache_scheme asks for it"):
        check(made, small_llama, nothing)


def test_what_cannot_be_compared_is_said(small_llama, int4, tmp_path):
    made = shutil.copytree(int4, tmp_path / "made")
    config = json.loads((made / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (made / "config.json").write_text(json.dumps(config))
    found = check(made, small_llama, nothing).report()
    assert found["reconstruction"] is None
    assert found["notes"] == ["layers were not compared with the source: their format is gptq, not compressed-tensors"]
