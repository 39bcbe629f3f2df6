"""Everything a recipe names. Each part is found, fetched, called and read at most once per run."""

from __future__ import annotations

from typing import Any

from quantbento.core import user_code
from quantbento.inputs import samples
from quantbento.inputs.source import NamedModel
from quantbento.recipe import Recipe, Samples
from quantbento.tasks.base import Task
from quantbento.tasks.source import SampleSet

SAMPLES = ("evaluation", "calibration", "training")


class RecipeInputs:
    """The model and the samples of a recipe.

    Args:
        recipe: a recipe of the right shape.
        task: what its model is for.
    """

    def __init__(self, recipe: Recipe, task: type[Task]) -> None:
        self.recipe = recipe
        self.model, self.task = NamedModel(recipe.model, task), task
        self.specs: dict[str, Samples] = {kind: spec for kind in SAMPLES if (spec := getattr(recipe, kind)) is not None}
        self._samples: dict[str, SampleSet] = {}

    def samples(self, kind: str) -> SampleSet:
        """The samples of a kind: "evaluation", "calibration" or "training", as they were given.

        Raises:
            QuantbentoError: they cannot be read, or are fewer than asked for.
        """
        if kind not in self._samples:
            self._samples[kind] = samples.load_samples(self.specs[kind], self.task.fields, self.task.suffixes)
        return self._samples[kind]

    def identity(self, part: str) -> Any:
        """What identifies a part of the recipe's inputs: "model", "custom_objects", or a kind of samples.

        Raises:
            QuantbentoError: it is missing.
        """
        if part == "model":
            return self.model.identity()
        if part == "custom_objects":
            return {name: user_code.identity(code) for name, code in self.recipe.custom_objects.items()}
        return samples.identify(self.specs[part], self.task.suffixes) if part in self.specs else None
