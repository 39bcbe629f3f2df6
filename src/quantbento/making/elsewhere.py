"""What other machines need for a recipe's variants, without looking at this machine's packages and hardware."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantbento.core.devices import AUTO, kind_of
from quantbento.core.errors import QuantbentoError
from quantbento.making import placement
from quantbento.making.resolve import resolve
from quantbento.recipe import read_recipe


@dataclass(frozen=True)
class Elsewhere:
    """A recipe for other machines; `gpu`: whether they have an NVIDIA GPU."""

    name: str
    variants: list[str]
    gpu: bool


def look(recipe: Path) -> Elsewhere:
    """The variants, and the kind of machine that all of them run on: one for the whole table, as on one machine. With
    `device: auto` it has a GPU where every variant can use one.

    Raises:
        RecipeError: everything that is wrong with the recipe, but for packages that are not installed here.
        QuantbentoError: it is for a device that is neither a CPU nor an NVIDIA GPU.
    """
    read = read_recipe(recipe)
    resolved, problems = resolve(read)
    problems = [problem for problem in problems if not problem.installs]
    if resolved is not None:
        problems += placement.problems(resolved)
    if resolved is None or problems:
        raise read.error(problems)
    device = resolved.recipe.benchmark.device
    on_all = "cuda" if all("cuda" in variant.devices for variant in resolved.variants) else "cpu"
    kind = on_all if device == AUTO else kind_of(device)
    if kind not in ("cpu", "cuda"):
        raise QuantbentoError(f"benchmark.device is {device!r}; a sweep is for CPUs and NVIDIA GPUs (cpu, cuda, auto)")
    return Elsewhere(resolved.recipe.name, [v.name for v in resolved.recipe.variants], kind == "cuda")
