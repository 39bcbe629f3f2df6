"""What a user writes: data only. Imports no quantizer, task or runtime."""

from quantbento.recipe.schema import (
    TAG_LENGTH,
    TAG_PATTERN,
    Benchmark,
    Calibration,
    Gates,
    ModelSpec,
    Recipe,
    Samples,
    Variant,
    load_recipe,
    read_recipe,
)

__all__ = [
    "TAG_LENGTH",
    "TAG_PATTERN",
    "Benchmark",
    "Calibration",
    "Gates",
    "ModelSpec",
    "Recipe",
    "Samples",
    "Variant",
    "load_recipe",
    "read_recipe",
]
