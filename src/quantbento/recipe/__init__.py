"""What a user writes: data only. Imports no quantizer, task or runtime."""

from quantbento.recipe.evaluation import Evaluation
from quantbento.recipe.gates import Gates
from quantbento.recipe.inputs import Calibration, ModelSpec, Samples
from quantbento.recipe.reading import load_recipe, name_in, read_recipe
from quantbento.recipe.schema import TAG_LENGTH, TAG_PATTERN, Benchmark, Recipe, Variant

__all__ = [
    "TAG_LENGTH",
    "TAG_PATTERN",
    "Benchmark",
    "Calibration",
    "Evaluation",
    "Gates",
    "ModelSpec",
    "Recipe",
    "Samples",
    "Variant",
    "load_recipe",
    "name_in",
    "read_recipe",
]
