"""The plan of a dry run."""

from __future__ import annotations

from typing import Any

from quantbento.making.resolve import ResolvedRecipe


def print_plan(resolved: ResolvedRecipe, notes: list[str]) -> None:
    """Prints what a run would do, and what was not checked."""
    recipe = resolved.recipe
    print(f"recipe   {recipe.name}: {recipe.task}")
    print(f"model    {_given(recipe.model.model_dump(mode='json', exclude_defaults=True))}")
    for kind, name in {"evaluation": "samples", "calibration": "calib.", "training": "train"}.items():
        if kind in resolved.inputs.specs:
            print(f"{name:9}{_given(resolved.inputs.specs[kind].model_dump(mode='json', exclude_defaults=True))}")
    print(f"measure  {_given(recipe.benchmark.model_dump(exclude_none=True))}")
    for variant in resolved.variants:
        spec, gates = variant.spec, variant.gates.model_dump(exclude_defaults=True)
        here = "" if variant.judged else "; not judged here"
        print(f"variant  {spec.name}: {spec.quantizer} ({variant.scheme}), served by {variant.runtime.name}{here}")
        print(f"         options {_given(spec.options) or 'defaults'}; gates {_given(gates) or 'none'}")
        if spec.mixed or spec.on_fail:
            goal = spec.mixed.model_dump(exclude_defaults=True) if spec.mixed else {"if": "a gate on a metric fails"}
            print(f"         mixed {_given(goal)}")
        print(f"         stored as {recipe.model_name(spec)}")
    for note in notes:
        print(f"note     {note}")


def _given(values: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items())
