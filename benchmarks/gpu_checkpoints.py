"""Checkpoints for `benchmarks/gpu.py`, made on the spot: a Llama of random weights, and one in each scheme."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantbento.core import registry
from quantbento.inputs import checkpoint
from quantbento.inputs.job import Job
from quantbento.tasks.source import SourceModel

# The shapes of Llama 3.2 1B and 3B, and of Llama 3.1 8B; `tiny` is for trying the script.
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 2048},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
}
LARGE = {"num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192}
SHARD_BYTES = 4e9
DEVIATION = 0.02  # of random weights, as Transformers initialises them


def random_llama(size: str, tokenizer: Path, folder: Path, device: str) -> Path:
    """A Llama in bfloat16 with random weights, shard by shard, with the tokenizer of another folder.

    Speed and memory do not depend on what weights are; what such a model says means nothing.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = (LARGE if size != "tiny" else {}) | SHAPES[size]
    config = LlamaConfig(**shape, dtype="bfloat16", tie_word_embeddings=False, rope_theta=500000.0)
    with torch.device("meta"):
        names = {name: tuple(t.shape) for name, t in LlamaForCausalLM(config).state_dict().items()}
    folder.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, folder / file)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    chance = torch.Generator(device).manual_seed(0)

    def tensors() -> Iterator[tuple[str, Any]]:
        for name, dimensions in names.items():
            if len(dimensions) == 1:  # norms
                yield name, torch.ones(dimensions, dtype=torch.bfloat16)
            else:
                made = torch.randn(dimensions, generator=chance, device=device, dtype=torch.bfloat16)
                yield name, (made * DEVIATION).cpu()

    _write(folder, tensors())
    if device == "cuda":
        torch.cuda.empty_cache()  # the engines, which are other processes, need the room
    return folder


def w4a16(source: Path, folder: Path) -> None:
    """In the largest groups that all layers can have."""
    widths = {inputs for _, inputs in checkpoint.inspect(source).linears.values()}
    group = next(size for size in (128, 64, 32) if all(width % size == 0 for width in widths))
    _rtn(source, folder, scheme="W4A16", group_size=group)


def w8a8(source: Path, folder: Path) -> None:
    """INT8 weights, and activations that are rounded per token."""
    _rtn(source, folder, scheme="W8A8")


def _rtn(source: Path, folder: Path, **options: Any) -> None:
    """By this project's quantizer `rtn`, which needs no samples and leaves `lm_head` as it is."""
    folder.mkdir(parents=True)
    quantizer = registry.quantizer("rtn")()
    with tempfile.TemporaryDirectory() as workspace:
        job = Job(SourceModel(folder=source, dtype="bfloat16"), None, Path(workspace))
        quantizer.quantize(job, quantizer.Options(**options), folder)


def weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _write(folder: Path, tensors: Iterator[tuple[str, Any]]) -> None:
    """Shards of at most about `SHARD_BYTES`, with an index."""
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    shard: dict[str, Any] = {}
    total = 0

    def finish() -> None:
        file = f"model-{len(set(places.values())) + 1:05d}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in shard.items()}, folder / file, {"format": "pt"})
        places.update(dict.fromkeys(shard, file))
        shard.clear()

    for name, tensor in tensors:
        shard[name] = tensor
        total += tensor.nbytes
        if sum(each.nbytes for each in shard.values()) > SHARD_BYTES:
            finish()
    if shard:
        finish()
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
