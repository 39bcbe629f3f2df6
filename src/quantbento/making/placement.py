"""The device that a recipe's models are compared on. It is one for all: a variant on a CPU beside a baseline on a GPU
would tell about the machine, not about quantization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from quantbento.core.devices import AUTO, choose, kind_of
from quantbento.making.resolve import ResolvedRecipe, ResolvedVariant
from quantbento.recipe.document import Problem
from quantbento.runtimes.base import Runtime


def choose_device(asked: str, variants: Sequence[ResolvedVariant], baseline: type[Runtime]) -> str:
    """`asked`, or for `auto` a GPU where there is one that all variants and the baseline can use, else the CPU.

    Raises:
        QuantbentoError: one of them cannot use the device that was asked for.
    """
    common = [kind for kind in baseline.devices if all(kind in variant.devices for variant in variants)]
    engines = list(dict.fromkeys([baseline, *(variant.runtime for variant in variants)]))
    return choose(asked, common, partial(_problem, engines), "the comparison")


def problems(resolved: ResolvedRecipe) -> Iterator[Problem]:
    """The variants that cannot run on the device that `benchmark.device` names, and those that have none in common."""
    device = resolved.recipe.benchmark.device
    judged = [variant for variant in resolved.variants if variant.judged]
    by_name = {variant.name: variant.devices for variant in judged}
    if device == AUTO and by_name and not set.intersection(*map(set, by_name.values())):
        told = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in by_name.items())
        yield Problem(("variants",), f"no device runs all of them ({told}). Put them into recipes of their own")
    for variant in judged if device != AUTO else ():
        if kind_of(device) not in variant.devices:
            runs = f"what {variant.quantizer.name} makes runs on {', '.join(variant.devices)}"
            told = f"{runs}; benchmark.device is {device!r}. Leave the device out, or the variant"
            yield Problem((*variant.place, "quantizer"), told)


def _problem(engines: Sequence[type[Runtime]], device: str) -> str | None:
    return next((told for engine in engines if (told := engine.device_problem(device))), None)
