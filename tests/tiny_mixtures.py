"""Mixtures of experts and a vision-language model with random weights, 2 layers and a byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny_llama import tokenizer_of

SIZES = {
    "vocab_size": 384,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
EXPERTS = 4


def config_of(kind: str) -> Any:
    import transformers as t

    if kind == "mixtral":
        return t.MixtralConfig(intermediate_size=96, num_local_experts=EXPERTS, num_experts_per_tok=2, **SIZES)
    if kind == "qwen3":
        more = {"moe_intermediate_size": 96, "num_experts": EXPERTS, "num_experts_per_tok": 2, "head_dim": 32}
        return t.Qwen3MoeConfig(intermediate_size=96, **more, **SIZES)
    if kind == "qwen2":  # has an expert that all tokens share
        more = {"moe_intermediate_size": 96, "shared_expert_intermediate_size": 96, "num_experts": EXPERTS}
        return t.Qwen2MoeConfig(intermediate_size=96, num_experts_per_tok=2, **more, **SIZES)
    if kind == "gpt-oss":  # its checkpoints hold the experts of a layer in one tensor
        return t.GptOssConfig(intermediate_size=96, num_local_experts=EXPERTS, head_dim=32, **SIZES)
    vision = t.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    text = t.LlamaConfig(intermediate_size=96, **SIZES)
    return t.LlavaConfig(vision_config=vision, text_config=text, image_token_index=383)


def write(kind: str, folder: Path) -> Path:
    """Writes the checkpoint in hub format, in bfloat16."""
    import torch
    import transformers as t

    auto = t.AutoModelForImageTextToText if kind == "llava" else t.AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto.from_config(config_of(kind)).to(torch.bfloat16).save_pretrained(folder)
    if kind == "llava":
        t.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=28).save_pretrained(folder)
    tokenizer_of(Path(__file__).read_text(encoding="utf-8")).save_pretrained(folder)
    return folder
