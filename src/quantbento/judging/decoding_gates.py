"""What gates may name of speculative decoding and prefix caching: `decoding.speedup` and others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

PREFIX = "decoding."
# Figures of `quantbento.judging.decoding.compared`: +1 where larger is better, else -1.
BETTER = {
    "speedup": +1,
    "same_texts": +1,
    "acceptance_rate": +1,
    "tokens_per_pass": +1,
    "prefix_hit_rate": +1,
    "first_token_ms": -1,
}
NAMES = tuple(f"{PREFIX}{name}" for name in BETTER)
RULES = ("min", "max")  # there is none of the baseline, so no drop and no recovery
# Where speed is not asked about, these pass, as a speedup does.
NOT_ASKED = {f"{PREFIX}{name}": better * math.inf for name, better in BETTER.items()}


def gated(decoding: Mapping[str, Any] | None) -> dict[str, float]:
    """The figures that were measured, as gates name them.

    Args:
        decoding: `VariantRow.decoding`; its speedup counts with the median.
    """
    found = {**decoding, "speedup": decoding["speedup"]["median"]} if decoding else {}
    return {f"{PREFIX}{name}": found[name] for name in BETTER if found.get(name) is not None}
