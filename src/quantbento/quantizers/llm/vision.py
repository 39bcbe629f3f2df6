"""Vision-language models: what stays in 16 bit beside the language model, and why."""

from __future__ import annotations

from collections.abc import Collection

from quantbento.inputs.checkpoint import CheckpointFacts


def notes(model: CheckpointFacts, done: Collection[str]) -> list[str]:
    """How many layers of the vision tower and the projector stayed in 16 bit; nothing for a model without them."""
    kept = [name for name in model.vision if name not in done]
    if not kept:
        return []
    return [
        f"{len(kept)} layers of the vision tower and the projector stay in 16 bit: calibration has texts only, and "
        "they are few of the weights (`vision: true` quantizes them)"
    ]
