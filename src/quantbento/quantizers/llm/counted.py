"""Counts the tensors of a written checkpoint's quantized layers, and compares them with what the scheme says: libraries
may do less than they were asked for, without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import ceil, prod
from pathlib import Path

from quantbento.core.errors import QuantbentoError
from quantbento.inputs import checkpoint
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.quantizers.llm.schemes import Scheme

SCALES = ("weight_scale", "scales")  # in compressed-tensors' formats, and in those of GPTQ and AWQ
KV_SCALES = ("k_scale", "v_scale")


def layers(facts: CheckpointFacts, folder: Path, names: Iterable[str], scheme: Scheme, group: int) -> str:
    """What there is, in one line: "28 layers: 28 weight_packed, 28 weight_scale (98,304 scales)".

    Args:
        names: the layers that are in this scheme, with all their tensors in `folder`.
        group: input channels that share a scale; -1: one scale per row.

    Raises:
        QuantbentoError: a layer lacks a tensor of the scheme, or has another number of scales.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for key, (_, shape) in checkpoint.tensors(folder).items():
        layer, _, kind = key.rpartition(".")
        found.setdefault(layer, {})[kind] = shape
    kinds, scales, count = Counter[str](), 0, 0
    for name in names:
        own = found.get(name, {})
        here = next((kind for kind in SCALES if kind in own), "weight_scale")
        needed = (here, *scheme.also) if here == "weight_scale" else (here,)
        if missing := [kind for kind in needed if kind not in own]:
            raise QuantbentoError(f"{name!r} has no {' and no '.join(missing)} in what was written as {scheme.name}")
        out, inputs = facts.linears[name]
        expected = ceil(out / scheme.block) * (1 if group < 0 else ceil(inputs / group))
        if (number := prod(own[here])) != expected:
            raise QuantbentoError(f"{name!r} has {number:,} scales in what was written; {scheme.name} has {expected:,}")
        kinds.update(kind for kind in own if kind != "bias")
        scales, count = scales + number, count + 1
    parts = [f"{number} {kind}" + (f" ({scales:,} scales)" if kind in SCALES else "") for kind, number in kinds.items()]
    return f"{count} layers in {scheme.name}: {', '.join(parts)}"


def kv_cache(folder: Path) -> str:
    """How many scales of the KV cache there are: one of keys and one of values per attention layer.

    Raises:
        QuantbentoError: there are none, or a layer has only one of the two.
    """
    names = list(checkpoint.tensors(folder))
    keys, values = ({n.removesuffix(f".{kind}") for n in names if n.endswith(f".{kind}")} for kind in KV_SCALES)
    if not keys or keys != values:
        raise QuantbentoError(f"the KV cache has {len(keys)} k_scale and {len(values)} v_scale in what was written")
    return f"KV cache in FP8: {len(keys)} k_scale, {len(values)} v_scale"
