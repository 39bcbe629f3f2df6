"""The samples that variants are judged on: items, pairs of texts with scores, or queries with their documents."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError
from quantbento.inputs import beir
from quantbento.inputs.samples import load_samples
from quantbento.recipe import Evaluation
from quantbento.recipe.evaluation import PAIR_FIELDS
from quantbento.tasks.source import Judgements, Pairs, SampleSet

MOST_GROUPS = 100  # more are no groups, but something that each sample has of its own


def judged(spec: Evaluation, fields: tuple[str, ...], suffixes: tuple[str, ...]) -> SampleSet:
    """What a recipe's `evaluation` names.

    Args:
        fields, suffixes: what an item is made of, as the task declares it.

    Raises:
        QuantbentoError: they cannot be read, are fewer than `count`, or the column that groups them groups nothing.
    """
    if spec.kind == "retrieval":
        samples = beir.read(spec)
    elif spec.kind == "pairs":
        samples = _pairs(spec)
    else:
        samples = load_samples(spec, fields, suffixes)
    if samples.groups is not None and (count := len(set(samples.groups))) > MOST_GROUPS:
        raise QuantbentoError(
            f"group: {spec.group!r} has {count} values in {len(samples.groups)} samples; name a column with up to "
            f"{MOST_GROUPS}"
        )
    return replace(samples, spec=spec)


def few(samples: SampleSet, count: int) -> SampleSet:
    """The first pairs, or the first queries with their relevant documents and the first of all others."""
    units, groups = samples.units, samples.groups and samples.groups[:count]
    if isinstance(units, Pairs):
        left, right = units.left[:count], units.right[:count]
        texts, places = np.unique(np.concatenate([left, right]), return_inverse=True)
        cut = Pairs(places[: len(left)], places[len(left) :], units.scores[:count])
        return replace(samples, inputs=[samples.inputs[i] for i in texts], units=cut, groups=groups)
    assert isinstance(units, Judgements)
    relevance = units.relevance[:count]
    kept = sorted({*range(min(count, len(units.documents))), *(place for own in relevance for place in own)})
    moved = {place: new for new, place in enumerate(kept)}
    judgements = Judgements(
        len(relevance),
        [{moved[place]: value for place, value in own.items()} for own in relevance],
        [units.documents[place] for place in kept],
    )
    inputs = samples.inputs[: len(relevance)] + [samples.inputs[units.queries + place] for place in kept]
    return replace(samples, inputs=inputs, units=judgements, groups=groups)


def identity(spec: Evaluation) -> dict[str, Any]:
    """What identifies the evaluation beside the samples that `samples.identify` reads.

    Raises:
        QuantbentoError: a metric's function does not exist.
    """
    files = beir.identity(spec) if spec.kind == "retrieval" else {}
    functions = [user_code.identity(own.function) for own in spec.metrics.values()]
    return files | ({"functions": functions} if functions else {})


def _pairs(spec: Evaluation) -> SampleSet:
    """The texts of all pairs, each once, and which of them are pairs."""
    first, second, score = PAIR_FIELDS
    columns = {name: spec.column(name) for name in (first, second)} | {"label": spec.column(score)}
    table = load_samples(spec.model_copy(update={"columns": columns}), (first, second))
    where = spec.path or spec.dataset or repr(spec.factory)
    if table.labels is None:
        raise QuantbentoError(f"{where} has no column {spec.column(score)!r}; name it with `columns: {{{score}: ...}}`")
    scores, places = [], dict[str, int]()
    sides: tuple[list[int], list[int]] = ([], [])
    for number, (pair, label) in enumerate(zip(table.inputs, table.labels, strict=True), 1):
        try:
            scores.append(float(label))
            texts = [pair[name] for name in (first, second)] if isinstance(pair, dict) else list(pair)
            a, b = texts
        except (TypeError, ValueError, KeyError):
            raise QuantbentoError(f"{where}: row {number} is no pair of texts with a score that is a number") from None
        if not math.isfinite(scores[-1]):
            raise QuantbentoError(f"{where}: the score of row {number} is {label!r}; it must be a finite number")
        for side, text in zip(sides, (a, b), strict=True):
            side.append(places.setdefault(text, len(places)))
    left, right = (np.asarray(side, np.int64) for side in sides)
    return SampleSet(list(places), units=Pairs(left, right, np.asarray(scores)), groups=table.groups)
