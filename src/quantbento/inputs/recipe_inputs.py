"""Everything a recipe names. Each part is found, fetched, called and read at most once per run."""

from __future__ import annotations

from typing import Any

from quantbento.core import user_code
from quantbento.inputs import lm_eval_files, samples
from quantbento.inputs.judged import identity, judged
from quantbento.inputs.source import NamedModel
from quantbento.recipe import Evaluation, Recipe, Samples
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
            spec, parts = self.specs[kind], (self.task.fields, self.task.suffixes)
            read = judged(spec, *parts) if isinstance(spec, Evaluation) else samples.load_samples(spec, *parts)
            self._samples[kind] = read
        return self._samples[kind]

    def read(self, kind: str) -> SampleSet | None:
        """The samples of a kind where they were read before, else None."""
        return self._samples.get(kind)

    def identity(self, part: str) -> Any:
        """What identifies a part of the recipe's inputs: "model", "custom_objects", or a kind of samples.

        Raises:
            QuantbentoError: it is missing.
        """
        if part == "model":
            return self.model.identity()
        if part == "custom_objects":
            return {name: user_code.identity(code) for name, code in self.recipe.custom_objects.items()}
        found = samples.identify(self.specs[part], self.task.suffixes) if part in self.specs else None
        if part == "evaluation":
            found = {**(found or {}), **identity(self.recipe.evaluation)}
        tasks = self.recipe.evaluation.lm_eval if part == "evaluation" else None
        return found if tasks is None else {**(found or {}), "lm_eval": lm_eval_files.identity(tasks)}
