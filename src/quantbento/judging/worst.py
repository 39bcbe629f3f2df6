"""The samples whose results are furthest from the baseline's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from quantbento.judging.evaluation.base import Evaluation, Outcome

LISTED = 20
LONGEST_TEXT = 2000  # characters of a shown text
MOST_NUMBERS = 64  # of a shown array


def furthest(evaluation: Evaluation, baseline: Outcome, variant: Outcome, shown: int | None) -> list[dict[str, Any]]:
    """`VariantRow.worst`, the worst first: `index` and `distance`.

    Args:
        shown: how many are listed with their `input` and both models' answers. None: the report holds no data of the
            user's, only places and distances, of 20.
    """
    distances = evaluation.distances(baseline, variant)
    if distances is None:
        return []
    found = []
    for place in np.argsort(-distances, kind="stable")[: shown or LISTED].tolist():
        entry: dict[str, Any] = {"index": place, "distance": float(distances[place])}
        if shown:
            item, answer = evaluation.shown(place, variant)
            before = evaluation.shown(place, baseline)[1]
            entry |= {"input": readable(item), "baseline": readable(before), "variant": readable(answer)}
        found.append(entry)
    return found


def readable(value: Any) -> Any:
    """The value as JSON that people can read: long texts are cut, large arrays are their shape, files are named."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}..."
    if isinstance(value, dict):
        return {str(key): readable(own) for key, own in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= MOST_NUMBERS else f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [readable(own) for own in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return value.name if isinstance(value, Path) else f"{type(value).__name__}"
