"""A GGUF file in float32 of a Llama checkpoint in hub format, written by hand with the `gguf` package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.trained_llama import tensors_of

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(checkpoint: Path, path: Path, pre: str = "default") -> None:
    import gguf

    config = json.loads((checkpoint / "config.json").read_text())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    _add_tokenizer(writer, checkpoint, pre)
    for name, tensor in tensors_of(checkpoint).items():
        own = _name(name.removesuffix(".weight"))
        values = tensor.float().numpy()
        if kind := heads.get(own.rpartition(".")[2]):  # llama.cpp rotates neighbours, the hub's format two halves
            shape = (kind, 2, len(values) // kind // 2, values.shape[1])
            values = values.reshape(shape).swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(f"{own}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(own: str) -> str:
    if own in OUTSIDE:
        return OUTSIDE[own]
    _, _, layer, inside = own.split(".", 3)
    return f"blk.{layer}.{NAMES[inside]}"


def _add_tokenizer(writer: Any, checkpoint: Path, pre: str) -> None:
    import gguf

    model = json.loads((checkpoint / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    kinds = [gguf.TokenType.CONTROL if token in ("<s>", "</s>") else gguf.TokenType.NORMAL for token in tokens]
    size = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    missing = [f"[PAD{number}]" for number in range(len(tokens), size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens + missing)
    writer.add_token_types([*kinds, *[gguf.TokenType.UNUSED] * len(missing)])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
