from __future__ import annotations

from fnmatch import fnmatchcase

from quantbento.quantizers.llm.fused import fused


def test_layers_that_vllm_fuses_share_a_pattern():
    names = ["q_proj", "k_proj", "v_proj", "o_proj"]
    layers = [f"m.1.attn.{n}" for n in names] + [f"m.1.mlp.{n}" for n in ("gate_proj", "up_proj", "down_proj")]
    found = fused(layers)
    assert found == {
        "m.1.attn.[qkv]_proj": layers[:3],
        "m.1.attn.o_proj": [layers[3]],
        "m.1.mlp.[gu]*_proj": layers[4:6],
        "m.1.mlp.down_proj": [layers[6]],
    }
    for pattern, members in found.items():
        assert [name for name in layers if fnmatchcase(name, pattern)] == members


def test_brackets_in_names_are_no_patterns():
    assert fused(["a[0].q_proj", "a[0].k_proj"]) == {"a[[]0].[qkv]_proj": ["a[0].q_proj", "a[0].k_proj"]}


def test_a_layer_whose_partner_is_kept_is_alone():
    assert fused(["a.q_proj", "a.o_proj"]) == {"a.q_proj": ["a.q_proj"], "a.o_proj": ["a.o_proj"]}
