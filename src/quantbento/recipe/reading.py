"""Reads a recipe from a YAML file or a mapping, with every problem of its shape."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from quantbento.core.errors import QuantbentoError, RecipeError
from quantbento.recipe.document import Document, Problem, describe_errors
from quantbento.recipe.schema import Recipe


@dataclass(frozen=True)
class ReadRecipe:
    """What was read.

    Attributes:
        recipe: None where its shape is wrong.
        data: as it was given, so that other problems can be found even where the shape is wrong.
        problems: what is wrong with its shape.
    """

    recipe: Recipe | None
    data: dict[str, Any]
    document: Document
    problems: list[Problem] = field(default_factory=list)

    def error(self, problems: list[Problem]) -> RecipeError:
        """One error that lists all problems, each with its line, and one command for all that is not installed."""
        told = list(dict.fromkeys(self.document.lines(problems)))
        missing = list(dict.fromkeys(problem.installs for problem in problems if problem.installs))
        if len(missing) > 1:
            told.append(f"one command installs what is missing: pip install {_together(missing)}")
        return RecipeError(told, self.document.name)


def judging(read: ReadRecipe, judge: Literal["none"] | None, only: str | None = None) -> ReadRecipe:
    """The recipe with this `judge` in each of its variants, or in the variant of this name alone."""

    def changes(name: Any) -> bool:
        return only is None or name == only

    changed = dict(read.data)
    if isinstance(listed := read.data.get("variants"), list):
        changed["variants"] = [
            v | {"judge": judge} if isinstance(v, dict) and changes(v.get("name")) else v for v in listed
        ]
    recipe = read.recipe
    if recipe is not None:
        chosen = [v.model_copy(update={"judge": judge}) if changes(v.name) else v for v in recipe.variants]
        recipe = recipe.model_copy(update={"variants": chosen})
    return replace(read, recipe=recipe, data=changed)


def _together(missing: list[str]) -> str:
    """`'quantbento[a,b]' c` of `'quantbento[a]'`, `'quantbento[b]'` and `c`."""
    extras = [found[1] for what in missing if (found := re.fullmatch(r"'quantbento\[(.*)\]'", what))]
    others = [what for what in missing if "[" not in what]
    return " ".join([*([f"'quantbento[{','.join(extras)}]'"] if extras else []), *others])


def read_recipe(source: str | Path | dict[str, Any] | Recipe) -> ReadRecipe:
    """A recipe, or what is wrong with it.

    Raises:
        RecipeError: the file cannot be read at all.
    """
    if isinstance(source, Recipe):
        data = source.model_dump(exclude_unset=True)
        return ReadRecipe(source, data, Document(data, f"recipe {source.name!r}", Path.cwd()))
    document = Document.of(source)
    try:
        recipe = Recipe.model_validate(document.data, context={"base": document.folder})
    except ValidationError as error:
        return ReadRecipe(None, document.data, document, describe_errors(error, Recipe))
    return ReadRecipe(recipe, document.data, document)


def name_in(path: Path) -> str:
    """The name of the recipe in a file, whatever else is right or wrong in it.

    Raises:
        QuantbentoError: the file is missing, or no recipe.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuantbentoError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError):
        document = None
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise QuantbentoError(f"{path} is no recipe with a name. Check it: quantbento save {path} --dry-run")
    return name


def load_recipe(source: str | Path | dict[str, Any] | Recipe) -> Recipe:
    """A recipe of the right shape.

    Raises:
        RecipeError: with every problem of its shape, each with its place (and line, in a file).
    """
    read = read_recipe(source)
    problems = list(read.problems)
    if read.recipe is None or read.document.lines(problems):
        raise read.error(problems)
    return read.recipe
