"""A file of samples, looked at: which columns hold what the task reads, how many rows there are, and labels or not."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError, did_you_mean, one_of
from quantbento.core.user_code import PATTERN
from quantbento.inputs.samples import load_samples
from quantbento.recipe import Samples
from quantbento.tasks.base import Task
from quantbento.tasks.source import SampleSet

LABEL = "label"
# What labels are called elsewhere, most certain first.
LABELS = ("labels", "target", "class", "category", "sentiment", "intent", "stars", "rating", "relevance", "score", "y")
LABELS_OF_WORDS = ("ner_tags", "pos_tags", "tags")
LOOKED_AT = 200  # rows
MOST = 2000  # samples: enough for a gate of 1 %, and a run stays short


@dataclass(frozen=True)
class Looked:
    """`spec` is how a recipe says it, with absolute paths; `total` is how many samples there are."""

    spec: dict[str, Any]
    samples: SampleSet
    total: int


def look(given: str, task: type[Task], labels: Sequence[str], columns: Mapping[str, str]) -> Looked:
    """What `given` holds: a file or folder, or `module:function`.

    Args:
        labels: names of the model's classes, if known.
        columns: what the user says of columns, by field.

    Raises:
        QuantbentoError: it cannot be read, or does not have what the task reads.
    """
    path = Path(given).expanduser()
    spec: dict[str, Any]
    if not path.exists() and re.match(PATTERN, given):
        spec = {"factory": given}
    elif not path.exists():
        near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise QuantbentoError(f"no such file or folder: {given}{did_you_mean(given, near)}")
    else:
        spec = {"path": path.resolve()}
        if path.suffix in (".csv", ".jsonl"):
            found = _columns(_rows(path), task.fields, labels, columns, given)
            spec |= {"columns": found} if found else {}
        elif path.suffix == ".npz" and (label := _array_of_labels(path, columns)):
            spec |= {LABEL: label}
    samples = load_samples(Samples.model_validate(spec), task.fields, task.suffixes)
    total = len(samples.inputs)
    if task.contract != "tokens" and "path" in spec:
        spec |= {"count": min(total, MOST)}
    if "labels" in task.Options.model_fields:
        _known_labels(samples, labels, given)
    return Looked(spec, samples, total)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The first rows of a table."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return list(itertools.islice(csv.DictReader(io.StringIO(text, newline="")), LOOKED_AT))
        rows = [json.loads(line) for line in text.split("\n")[:LOOKED_AT] if line.strip()]
    except (OSError, ValueError) as error:
        raise QuantbentoError(f"{path} cannot be read: {error}") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise QuantbentoError(f"{path} must hold one JSON object a line, with a value for each column")
    return rows


def _columns(
    rows: Sequence[Mapping[str, Any]],
    fields: Sequence[str],
    labels: Sequence[str],
    given: Mapping[str, str],
    where: str,
) -> dict[str, str]:
    """By field, the columns that are named otherwise: what the user says, else what they hold."""
    names = [str(name) for name in rows[0]] if rows else []
    if wrong := [name for name in given.values() if name not in names]:
        raise QuantbentoError(
            f"{where} has no column {wrong[0]!r}{did_you_mean(wrong[0], names)} (it has {one_of(names)})"
        )
    found = dict(given)
    taken = {*given.values(), *(name for name in (*fields, LABEL) if name in names)}
    if LABEL not in names and LABEL not in found and (label := _label(rows, names, taken, labels)):
        found[LABEL] = label
        taken.add(label)
    missing = [field for field in fields if field not in names and field not in found]
    texts = [name for name in names if name not in taken and _size(rows, name) > 0]
    if len(missing) == 1 and texts:
        found[missing[0]] = max(texts, key=lambda name: _size(rows, name))
    elif missing and len(texts) == len(missing):
        found |= dict(zip(missing, texts, strict=True))
    elif missing:
        columns = " ".join(f"{field}=COLUMN" for field in missing)
        raise QuantbentoError(
            f"{where} has the columns {one_of(names)}, and which of them hold {', '.join(missing)} cannot be told; "
            f"add --columns {columns}"
        )
    return {field: found[field] for field in (*fields, LABEL) if field in found and found[field] != field}


def _label(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], taken: set[str], labels: Sequence[str]
) -> str | None:
    """A column whose every value is a label of the model, its number, or a list of these; else one that is called like
    labels."""
    free = [name for name in names if name not in taken]
    allowed = {*labels, *(str(number) for number in range(len(labels)))}
    fitting = [name for name in free if labels and {str(v) for row in rows for v in _values(row.get(name))} <= allowed]
    called = [name for known in (*LABELS, *LABELS_OF_WORDS) for name in free if name.lower() == known]
    both = [name for name in called if name in fitting]
    return next(iter(both or fitting or ([] if labels else called)), None)


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _size(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    """The characters of a column of texts, or of lists of words or messages; 0 for numbers."""
    values = [row.get(name) for row in rows]
    parts = [part for value in values for part in _values(value)]
    if any(not isinstance(part, str | dict) for part in parts) or all(map(_is_number, parts)):
        return 0
    return sum(len(str(value)) for value in values)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _array_of_labels(path: Path, columns: Mapping[str, str]) -> str | None:
    """The array that holds labels under another name than `label`."""
    import numpy as np

    if LABEL in columns:
        return columns[LABEL]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays.files)
    except Exception:  # `load_samples` says what is wrong with it
        return None
    return next((known for known in LABELS if known in names and LABEL not in names), None)


def _known_labels(samples: SampleSet, labels: Sequence[str], where: str) -> None:
    """Refuses names that are not the model's: every sample would count as wrong."""
    named = {value for value in samples.labels or () if isinstance(value, str) and not _is_number(value)}
    if unknown := sorted(named - set(labels)):
        model = f"which is none of the model's: {one_of(labels)}" if labels else "and the model has no names"
        raise QuantbentoError(
            f"{where} has the label {unknown[0]!r}, {model}; add --labels with the names of the model's outputs, in "
            "their order, separated by commas"
        )
