"""Linear layers that vLLM runs as one, and so have to be quantized alike."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from quantbento.inputs.checkpoint import FUSED
from quantbento.inputs.layers import EXPERT
from quantbento.quantizers.base import exactly

PATTERNS = {members: pattern for members, pattern in zip(FUSED, ("[qkv]_proj", "[gu]*_proj"), strict=True)}


def fused(layers: Iterable[str]) -> dict[str, list[str]]:
    """The layers by the pattern that names them: one pattern for each group that vLLM fuses, one for each other layer.

    >>> fused(["a.q_proj", "a.k_proj", "a.v_proj", "a.o_proj"])
    {'a.[qkv]_proj': ['a.q_proj', 'a.k_proj', 'a.v_proj'], 'a.o_proj': ['a.o_proj']}
    """
    layers = list(layers)
    found: dict[str, list[str]] = {}
    for layer in layers:
        pattern = _pattern(layer, layers)
        found.setdefault(pattern, []).append(layer)
    return found


def _pattern(layer: str, layers: list[str]) -> str:
    if match := EXPERT.fullmatch(layer):  # all experts of a layer
        return f"{exactly([match['block']])[0]}.*"
    parent, dot, own = layer.rpartition(".")
    (alone,) = exactly([layer])
    for members, pattern in PATTERNS.items():
        whole = "".join([*exactly([parent]), dot, pattern])
        matched = {name for name in layers if fnmatchcase(name, whole)}
        siblings = {f"{parent}{dot}{member}" for member in members}
        if own in members and len(matched) > 1 and matched <= siblings:
            return whole
    return alone
