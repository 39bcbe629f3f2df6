"""The architectures of models that the recipes in configs/ name, as their publishers have them in `config.json`: sizes,
and nothing of the weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "head_dim": 128,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
QWEN3 = LLAMA | {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
}
MIXTURE = {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]}
EXPERTS = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 1}


def sizes(hidden: int, intermediate: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


# By the recipe's name: the configuration, and the parameters (in millions) that the publisher states.
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "qwen3-0.6b": (QWEN3 | sizes(1024, 3072, 28, 16) | {"tie_word_embeddings": True}, 596),
    "qwen3-8b": (QWEN3 | sizes(4096, 12288, 36, 32), 8191),
    "llama-3.1-8b": (LLAMA | sizes(4096, 14336, 32, 32), 8030),
    "qwen3-30b-a3b": (QWEN3 | MIXTURE | EXPERTS | sizes(2048, 6144, 48, 32) | {"num_key_value_heads": 4}, 30532),
    "llama-3.3-70b": (LLAMA | sizes(8192, 28672, 80, 64), 70554),
}


def write(name: str, folder: Path, tokenizer: Path) -> None:
    """A folder in hub format that has this configuration and a tokenizer, and no weights."""
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    (folder / "config.json").write_text(json.dumps(PUBLISHED[name][0]))
