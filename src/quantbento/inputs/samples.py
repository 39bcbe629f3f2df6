"""The samples a recipe names: texts or tensors, with labels where there are any. Too few is always an error."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core import user_code
from quantbento.core.errors import QuantbentoError, did_you_mean, one_of, summary
from quantbento.inputs.folders import hash_files
from quantbento.recipe import Evaluation, Samples
from quantbento.tasks.source import SampleSet

TEXT = ("text",)
FORMATS = (".txt", ".jsonl", ".csv", ".npz")


def identify(spec: Samples, suffixes: tuple[str, ...] = ()) -> dict[str, Any]:
    """What identifies these samples, without parsing them.

    Args:
        spec: what a recipe says.
        suffixes: the task's, whose samples are files: those in the folder, or beside the table that names them, are
            part of it.
    """
    settings = spec.model_dump(exclude={"path", "factory", "lm_eval"}, exclude_none=True)
    if spec.path:
        table = [] if spec.path.is_dir() else [spec.path]
        base = spec.path if spec.path.is_dir() else spec.path.parent
        files = [*table, *_files(base, suffixes)]
        return settings | {"file": spec.path.name, "sha256": hash_files(files, base)}
    return settings | (user_code.identity(spec.factory) if spec.factory else {})


def load_samples(spec: Samples, fields: tuple[str, ...] = TEXT, suffixes: tuple[str, ...] = ()) -> SampleSet:
    """The samples a recipe names, cut to `count`.

    Args:
        spec: what a recipe says.
        fields, suffixes: what an item is made of, as the task declares it (`quantbento.tasks.base.Task`).

    Raises:
        QuantbentoError: they cannot be read, or are fewer than `count`.
    """
    if spec.factory:
        samples, where = _from_factory(spec.factory), repr(spec.factory)
    elif spec.dataset:
        samples, where = _from_dataset(spec, fields, suffixes), f"dataset {spec.dataset!r} ({spec.split})"
    elif spec.path is not None and spec.path.is_dir():
        samples, where = _from_folder(spec.path, suffixes), str(spec.path)
    else:
        assert spec.path is not None
        samples, where = _from_file(spec.path, spec, fields), str(spec.path)
        if suffixes:
            samples = replace(samples, inputs=[_beside(spec.path, item) for item in samples.inputs])
    if not samples.inputs:
        raise QuantbentoError(f"{where} holds no samples")
    if samples.labels is not None and len(samples.labels) != len(samples.inputs):
        raise QuantbentoError(f"{where} has {len(samples.inputs)} inputs but {len(samples.labels)} labels")
    if spec.count is None:
        return samples
    if len(samples.inputs) < spec.count:
        raise QuantbentoError(f"{where} has {len(samples.inputs)} samples; count asks for {spec.count}")
    # A folder lists one class after the other, so a count takes some of each.
    step = len(samples.inputs) / spec.count if spec.path is not None and spec.path.is_dir() else 1
    chosen = [int(i * step) for i in range(spec.count)]
    return samples.chosen(chosen)


def _from_folder(folder: Path, suffixes: tuple[str, ...]) -> SampleSet:
    """Files, each labelled with the name of its subfolder where all are in one."""
    if not suffixes:
        raise QuantbentoError(f"{folder} is a folder; this task takes a file: {one_of(FORMATS)}")
    files = _files(folder, suffixes)
    if not files:
        raise QuantbentoError(f"{folder} holds no file that ends with {one_of(suffixes)}")
    classes = [path.relative_to(folder).parts[0] for path in files if path.parent != folder]
    return SampleSet(files, classes if len(classes) == len(files) else None)


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes) if suffixes else []


def _beside(table: Path, item: Any) -> Any:
    """The file that a table names, which starts at the table's folder."""
    return table.parent / item if isinstance(item, str) else item


def _from_file(path: Path, spec: Samples, fields: tuple[str, ...]) -> SampleSet:
    if path.suffix == ".npz":
        return _from_arrays(path, spec.column("label"), spec.group if isinstance(spec, Evaluation) else None)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise QuantbentoError(f"{path} is not UTF-8 text: {error}") from None
    if path.suffix == ".txt" and len(fields) <= 1:
        return SampleSet([line.strip() for line in text.split("\n") if line.strip()])
    if path.suffix == ".csv":
        return _from_rows(list(csv.DictReader(io.StringIO(text, newline=""))), spec, fields, str(path))
    if path.suffix == ".jsonl":
        rows = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise QuantbentoError(f"{path} line {number} is not JSON: {error}") from None
        return _from_rows(rows, spec, fields, str(path))
    formats = [f for f in FORMATS if f != ".txt"] if len(fields) > 1 else FORMATS
    raise QuantbentoError(f"{path} must end with {one_of(formats)}")


def _from_rows(rows: Sequence[dict[str, Any]], spec: Samples, fields: tuple[str, ...], where: str) -> SampleSet:
    if not rows:
        return SampleSet([])
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise QuantbentoError(f"{where}: row {number} is no mapping of columns to values")
    columns = [str(column) for column in rows[0]]
    if not fields:
        raise QuantbentoError(f"{where} is a table; this task takes arrays, from an .npz file or a factory")
    for field in fields:
        if (name := spec.column(field)) not in columns:
            key = "text:" if field == "text" else f"columns: {{{field}: ...}}"
            raise QuantbentoError(
                f"{where} has no column {name!r}{did_you_mean(name, columns)} (it has {one_of(columns)}); "
                f"name it with `{key}`"
            )
    values = {field: _column(rows, spec.column(field), where) for field in fields}
    whole = [dict(zip(fields, row, strict=True)) for row in zip(*values.values(), strict=True)]
    inputs = values[fields[0]] if len(fields) == 1 else whole
    label, groups = spec.column("label"), None
    if isinstance(spec, Evaluation) and spec.group is not None:
        if spec.group not in columns:
            hint = did_you_mean(spec.group, columns)
            raise QuantbentoError(f"{where} has no column {spec.group!r} to group by{hint} (it has {one_of(columns)})")
        groups = [str(row.get(spec.group)) for row in rows]
    return SampleSet(inputs, _column(rows, label, where) if label in columns else None, groups=groups)


def _column(rows: Sequence[dict[str, Any]], name: str, where: str) -> list[Any]:
    for number, row in enumerate(rows, 1):
        if row.get(name) is None:
            raise QuantbentoError(f"{where}: row {number} has no {name!r}")
    return [row[name] for row in rows]


def _from_dataset(spec: Samples, fields: tuple[str, ...], suffixes: tuple[str, ...]) -> SampleSet:
    import datasets

    try:
        rows = datasets.load_dataset(spec.dataset, spec.config, split=spec.split)
    except Exception as error:  # many kinds, from the network to a misspelt split
        raise QuantbentoError(
            f"dataset {spec.dataset!r} could not be loaded: {summary(error)}. "
            "Without network, use `path:` with a local .jsonl file"
        ) from error
    if spec.count is not None:  # the others need not be read into memory
        rows = rows.select(range(min(spec.count, len(rows))))
    samples = _from_rows(rows.to_list(), spec, fields, f"dataset {spec.dataset!r}")
    return replace(samples, inputs=[_file(item) for item in samples.inputs]) if suffixes else samples


def _file(cell: Any) -> Any:
    """A file as a dataset keeps it: its bytes, or where it lies."""
    if isinstance(cell, dict) and cell.keys() == {"bytes", "path"}:
        return Path(cell["path"]) if cell["bytes"] is None else cell["bytes"]
    return cell


def _from_arrays(path: Path, label: str, group: str | None) -> SampleSet:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            by_name = dict(arrays)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:  # TypeError: a renamed .npy
        raise QuantbentoError(f"{path} cannot be read as .npz: {summary(error)}") from None
    labels = by_name.pop(label, None)
    if group is None:
        return _from_columns(by_name, None if labels is None else labels.tolist(), str(path))
    groups = labels if group == label else by_name.pop(group, None)
    if groups is None:
        raise QuantbentoError(f"{path} has no array {group!r} to group by (it has {one_of(by_name)})")
    samples = _from_columns(by_name, None if labels is None else labels.tolist(), str(path))
    return replace(samples, groups=[str(own) for own in groups.tolist()])


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
