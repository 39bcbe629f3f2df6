"""The samples a recipe names: texts or tensors, with labels where there are any. Too few is always an error."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError, did_you_mean, one_of, summary
from quantbento.recipe import Samples
from quantbento.tasks.source import SampleSet


def identify(spec: Samples) -> dict[str, Any]:
    """What identifies these samples, without parsing them."""
    settings = spec.model_dump(exclude={"path", "factory"}, exclude_none=True)
    if spec.path:
        return settings | {
            "file": spec.path.name,
            "sha256": hashlib.sha256(spec.path.read_bytes()).hexdigest(),
        }
    return settings | (user_code.identity(spec.factory) if spec.factory else {})


def load_samples(spec: Samples) -> SampleSet:
    """The samples a recipe names, cut to `count`.

    Raises:
        QuantbentoError: they cannot be read, or are fewer than `count`.
    """
    if spec.factory:
        samples, where = _from_factory(spec.factory), repr(spec.factory)
    elif spec.dataset:
        samples, where = _from_dataset(spec), f"dataset {spec.dataset!r} ({spec.split})"
    else:
        assert spec.path is not None
        samples, where = _from_file(spec.path, spec), str(spec.path)
    if not samples.inputs:
        raise QuantbentoError(f"{where} holds no samples")
    if samples.labels is not None and len(samples.labels) != len(samples.inputs):
        raise QuantbentoError(f"{where} has {len(samples.inputs)} inputs but {len(samples.labels)} labels")
    if spec.count is None:
        return samples
    if len(samples.inputs) < spec.count:
        raise QuantbentoError(f"{where} has {len(samples.inputs)} samples; count asks for {spec.count}")
    labels = None if samples.labels is None else samples.labels[: spec.count]
    return SampleSet(samples.inputs[: spec.count], labels)


def _from_file(path: Path, spec: Samples) -> SampleSet:
    if path.suffix == ".npz":
        return _from_arrays(path, spec.label)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise QuantbentoError(f"{path} is not UTF-8 text: {error}") from None
    if path.suffix == ".txt":
        return SampleSet([line.strip() for line in text.split("\n") if line.strip()])
    if path.suffix == ".csv":
        return _from_rows(list(csv.DictReader(io.StringIO(text, newline=""))), spec, str(path))
    if path.suffix == ".jsonl":
        rows = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise QuantbentoError(f"{path} line {number} is not JSON: {error}") from None
        return _from_rows(rows, spec, str(path))
    raise QuantbentoError(f"{path} must end with {one_of(['.txt', '.jsonl', '.csv', '.npz'])}")


def _from_rows(rows: Sequence[dict[str, Any]], spec: Samples, where: str) -> SampleSet:
    if not rows:
        return SampleSet([])
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise QuantbentoError(f"{where}: row {number} is no mapping of columns to values")
    columns = [str(column) for column in rows[0]]
    if spec.text not in columns:
        raise QuantbentoError(
            f"{where} has no column {spec.text!r}{did_you_mean(spec.text, columns)} (it has {one_of(columns)}); "
            "name it with `text:`"
        )
    labels = _column(rows, spec.label, where) if spec.label in columns else None
    return SampleSet(_column(rows, spec.text, where), labels)


def _column(rows: Sequence[dict[str, Any]], name: str, where: str) -> list[Any]:
    for number, row in enumerate(rows, 1):
        if row.get(name) is None:
            raise QuantbentoError(f"{where}: row {number} has no {name!r}")
    return [row[name] for row in rows]


def _from_dataset(spec: Samples) -> SampleSet:
    import datasets

    try:
        rows = datasets.load_dataset(spec.dataset, spec.config, split=spec.split)
    except Exception as error:  # many kinds, from the network to a misspelt split
        raise QuantbentoError(
            f"dataset {spec.dataset!r} could not be loaded: {summary(error)}. "
            "Without network, use `path:` with a local .jsonl file"
        ) from error
    return _from_rows(rows.to_list(), spec, f"dataset {spec.dataset!r}")


def _from_arrays(path: Path, label: str) -> SampleSet:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            by_name = dict(arrays)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:  # TypeError: a renamed .npy
        raise QuantbentoError(f"{path} cannot be read as .npz: {summary(error)}") from None
    labels = by_name.pop(label, None)
    return _from_columns(by_name, None if labels is None else labels.tolist(), str(path))


def _from_factory(reference: str) -> SampleSet:
    made = user_code.call(reference)
    inputs, labels = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    labels = None if labels is None else list(np.asarray(labels).tolist())
    if isinstance(inputs, dict):
        return _from_columns(inputs, labels, repr(reference))
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
        raise QuantbentoError(
            f"{reference!r} must return a list of inputs or a mapping of arrays by input name, or a pair of that and "
            f"labels, not {type(inputs).__name__}"
        )
    return SampleSet(list(inputs), labels)


def _from_columns(columns: dict[str, Any], labels: list[Any] | None, where: str) -> SampleSet:
    """Turns arrays by input name, batch first, into one mapping per sample."""
    try:
        sizes = {name: len(values) for name, values in columns.items()}
    except TypeError:
        raise QuantbentoError(f"{where}: every array must hold one value for each sample, batch first") from None
    if len(set(sizes.values())) != 1:
        raise QuantbentoError(f"{where}: arrays of one set must be equally long, not {sizes}")
    inputs = [{name: values[i] for name, values in columns.items()} for i in range(next(iter(sizes.values())))]
    return SampleSet(inputs, labels)
