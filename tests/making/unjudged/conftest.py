from __future__ import annotations

from pathlib import Path

import pytest

from tests.making.unjudged import compressed


@pytest.fixture(scope="session")
def small_llama(tmp_path_factory) -> Path:
    """A Llama of one layer with random weights, in one safetensors file, without a tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("small-llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def int4(small_llama, tmp_path_factory) -> Path:
    """It in W4A16."""
    return compressed.write(small_llama, tmp_path_factory.mktemp("int4") / "made")
