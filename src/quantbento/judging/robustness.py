"""How a variant answers inputs that samples seldom have (`Task.difficult`): empty, very long, emoji, noise.

A quantized model that was never calibrated on such inputs may give NaN, another shape, or answers far from the
baseline's. The samples would not show it, and clients send such inputs on the first day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from quantbento.core.errors import InvalidInput, QuantbentoError, summary
from quantbento.judging.evaluate import compare
from quantbento.runtimes.loaded import LoadedModel
from quantbento.tasks.base import Arrays
from quantbento.tasks.rows import finite, shapes
from quantbento.tasks.source import SampleSet

FEW = 4  # samples that changed ones are made of
Difficult = dict[str, Arrays]  # the baseline's rows by kind of input


def baseline_rows(baseline: LoadedModel, inputs: Sequence[Any]) -> Difficult:
    """The baseline's rows of each kind of difficult input. Kinds that services refuse, or that the baseline itself
    cannot answer, are not among them."""
    rows: Difficult = {}
    for kind, checked in _kinds(baseline, inputs):
        if checked:
            try:
                rows[kind] = baseline.rows_of(checked)
            except Exception:  # from the engine; what full precision cannot do says nothing about a variant
                continue
    return rows


def examine(variant: LoadedModel, inputs: Sequence[Any], baseline: Difficult) -> list[dict[str, Any]]:
    """One entry per kind, as `VariantRow.robustness` holds it.

    Args:
        variant: reloaded in its serving runtime.
        inputs: the samples, as they were given.
        baseline: what `baseline_rows` gave.
    """
    return [
        _entry(variant, kind, checked, baseline.get(kind))
        for kind, checked in _kinds(variant, inputs)
        if not checked or kind in baseline
    ]


def problems(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong, one line per kind of input."""
    told = []
    for entry in entries:
        if wrong := [f"not {name}" for name in ("finite", "deterministic") if entry[name] is False]:
            told.append(f"{entry['case']}: {', '.join(wrong)}")
        if entry["shape"] is False:
            told.append(f"{entry['case']}: another shape than the baseline's")
        if entry["error"] and not entry["refused"]:
            told.append(f"{entry['case']}: {entry['error']}")
    return told


def _kinds(loaded: LoadedModel, inputs: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Each kind with its inputs in canonical form; an empty list where the task refuses one of them."""
    task = loaded.task
    for kind, items in task.difficult(loaded.check(list(inputs[:FEW]))).items():
        try:
            yield kind, task.check_all(items, None)
        except InvalidInput:
            yield kind, []


def _entry(variant: LoadedModel, kind: str, checked: list[Any], expected: Arrays | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"case": kind, "samples": len(checked), "refused": not checked, "error": None}
    entry |= {"shape": None, "finite": None, "deterministic": None, "distance": {}}
    if not checked or expected is None:
        return entry
    try:
        rows, again = variant.rows_of(checked), variant.rows_of(checked)
    except Exception as error:  # from the engine
        return entry | {"error": summary(error)}
    entry["shape"] = {n: shapes(r) for n, r in rows.items()} == {n: shapes(r) for n, r in expected.items()}
    entry["finite"] = all(bool(finite(values).all()) for values in rows.values())
    entry["deterministic"] = all(_equal(values, again[name]) for name, values in rows.items())
    if entry["shape"] and entry["finite"]:
        try:
            entry["distance"] = compare(variant.task, expected, rows, SampleSet(checked))
        except QuantbentoError as error:
            entry["error"] = str(error)
    return entry


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Of rows, also where each has a shape of its own."""
    return len(one) == len(other) and all(
        np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f")
        for a, b in zip(one, other, strict=True)
    )
