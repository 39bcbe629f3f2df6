"""What serving a language model's variants on vLLM takes, from `config.json` alone: weights, KV cache, what fits.

vLLM fills a share of a GPU (`gpu_memory_utilization`) with the weights, what a step computes with, and the KV cache,
which gets the rest. The cache has a key and a value per attention layer, KV head and token. Layers with a sliding
window keep the window only; latent attention (MLA, https://arxiv.org/abs/2405.04434) keeps one compressed vector and
its rotary part per layer and token instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.runtimes.vllm_settings import EngineSettings

CARDS = (24, 48, 80, 141)  # GB of memory: L4 and A10, L40S, A100 and H100, H200
SHARE = 0.92  # vLLM's gpu_memory_utilization, unless a recipe says otherwise
WORKING = 1.5e9  # bytes per GPU for activations and CUDA graphs: what vLLM measures when it starts is of this size


@dataclass(frozen=True)
class KVCache:
    """Of one model. `grows` and `windows` are bytes per token: of layers that see all tokens, and of layers with a
    window of so many tokens."""

    grows: float
    windows: tuple[tuple[int, float], ...] = ()

    def bytes_of(self, tokens: int) -> float:
        """Of one sequence."""
        return self.grows * tokens + sum(size * min(tokens, window) for window, size in self.windows)

    @classmethod
    def of(cls, config: Any, engine: Any) -> KVCache:
        """
        Args:
            config: the language model's, as Transformers has it.
            engine: the recipe's `EngineSettings`; with several GPUs, this is one GPU's part.
        """
        size = 1 if engine.kv_cache_dtype.startswith("fp8") else 4 if engine.dtype == "float32" else 2
        layers = config.num_hidden_layers
        if rank := getattr(config, "kv_lora_rank", None):
            return cls(layers * (rank + config.qk_rope_head_dim) * size)  # every GPU has the whole of it
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        one = 2 * max(1, heads // engine.tensor_parallel_size) * width * size
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * layers
        windowed = kinds.count("sliding_attention")
        windows = ((config.sliding_window, windowed * one),) if windowed else ()
        return cls(kinds.count("full_attention") * one, windows)


def notes(resolved: ResolvedRecipe, variants: Sequence[ResolvedVariant], facts: CheckpointFacts) -> Iterator[str]:
    """For people: the KV cache, and each variant's weights with how many sequences fit beside them."""
    served = [variant for variant in variants if variant.runtime.name == "vllm"]
    if not served:
        return
    try:
        engine = EngineSettings.model_validate(resolved.options.engine)
    except ValidationError:
        return  # said with its place already
    config = _config(facts.folder, resolved.recipe.model.trust_remote_code)
    length = engine.max_model_len or config.max_position_embeddings
    cache, gpus = KVCache.of(config, engine), engine.tensor_parallel_size
    each = " on each GPU" if gpus > 1 else ""
    yield (
        f"serving on vLLM: the KV cache takes {cache.grows / 1e3:.0f} kB per token{each}, "
        f"{_size(cache.bytes_of(length))} per sequence of {length} tokens"
    )
    share = engine.gpu_memory_utilization or SHARE
    sizes = {v.name: size for v in served if (size := v.quantizer.weight_bytes(facts, v.options)) is not None}
    for name, size in {"16 bit": facts.size_bytes, **sizes}.items():
        fitting = {card: sequences(card * 1e9, size / gpus, cache.bytes_of(length), share) for card in CARDS}
        fits = ", ".join(f"{count} on {card} GB" for card, count in fitting.items() if count)
        times = f"{gpus} GPUs of " if gpus > 1 else ""
        told = fits.replace(" on ", f" on {times}") if fits else f"none on {times}{CARDS[-1]} GB"
        yield f"{name}: {_size(size)} of weights; sequences of that length at once: {told}"


def sequences(memory: float, weights: float, sequence: float, share: float) -> int:
    """How many sequences of so many bytes a GPU holds beside the weights."""
    return max(0, int((memory * share - weights - WORKING) / sequence))


def _config(folder: Path, trust_remote_code: bool) -> Any:
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    return config.get_text_config()


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
