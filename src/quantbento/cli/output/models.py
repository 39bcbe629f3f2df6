"""What is stored: the table and the JSON of `quantbento models`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from rich.table import Table
from rich.text import Text

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, StoreError
from quantbento.judging.figures import NOT_JUDGED, megabytes, speed, verdict
from quantbento.judging.report.console import wide_console
from quantbento.judging.rows import VariantRow
from quantbento.store import StoredModel, labels

# Fields of a variant's row to show. The others are shown elsewhere, or belong to the run and not to the model.
FIGURES = [f.name for f in fields(VariantRow) if f.name not in ("name", "tag", "reused", "error")]
DIGEST_SHOWN = len("sha256:") + 12
COLUMNS = (
    "tag",
    "aliases",
    "scheme",
    "runtime",
    "recovery",
    "size",
    "ratio",
    "speedup",
    "gates",
    "digest",
    "labels",
    "created",
)
MAY_BE_LEFT_OUT = ("aliases", "labels")  # if no model has any


def print_models(models: Sequence[StoredModel]) -> None:
    """Prints one line per stored model: tag, size, and what its manifest says about it."""
    lines = [_line(described(model)) for model in models]
    table = Table(pad_edge=False)
    shown = [name for name in COLUMNS if name not in MAY_BE_LEFT_OUT or any(line.get(name) for line in lines)]
    for name in shown:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(Text(line.get(name, "")) for name in shown))  # Text, so that brackets are not read as markup
    wide_console().print(table)


def print_models_json(models: Sequence[StoredModel]) -> None:
    """Prints a list of objects with the same keys. Missing values are null, and so are NaN and infinity, which JSON
    does not have."""
    text = json.dumps([described(model) for model in models])
    print(json.dumps(json.loads(text, parse_constant=lambda name: None), indent=2))


def described(model: StoredModel) -> dict[str, Any]:
    """All that is known about a stored model. If it is damaged, `error` says why something is missing."""
    name, _, version = model.tag.partition(":")
    found: dict[str, Any] = {
        "tag": model.tag,
        "name": name,
        "version": version,
        "aliases": None,
        "digest": None,
        "created": model.created or None,
        "labels": None,
        "recipe": None,
        "task": None,
        "primary": None,
        "variant": None,
        **dict.fromkeys(FIGURES),
        "error": None,
    }
    problems = []
    for part in (_aliases, _labels, _digest, _figures):
        try:
            found |= part(model)
        except StoreError as error:
            problems.append(str(error))
    return found | {"error": "; ".join(dict.fromkeys(problems)) or None}


def _aliases(model: StoredModel) -> dict[str, Any]:
    return {"aliases": model.aliases}


def _labels(model: StoredModel) -> dict[str, Any]:
    return {"labels": labels.users(labels.read(model))}


def _digest(model: StoredModel) -> dict[str, Any]:
    return {"digest": model.digest}


def _figures(model: StoredModel) -> dict[str, Any]:
    manifest = model.manifest
    try:
        row = VariantRow(**manifest["variant"])
    except (KeyError, TypeError):
        raise StoreError(f"{model.tag} was not made from a recipe: its manifest has no row of a report") from None
    recipe = manifest.get("recipe") or {}
    figures = asdict(row)
    return {
        "recipe": recipe.get("name"),
        "task": recipe.get("task"),
        "primary": _primary(recipe.get("task"), row.metrics),
        "variant": row.name,
        **{name: figures[name] for name in FIGURES},
    }


def _primary(task: str | None, measured: dict[str, float]) -> str | None:
    """The metric to show: the first of the task's primary metrics that was measured."""
    try:
        metrics = registry.task(task or "").primary
    except QuantbentoError:
        return None
    return next((name for name in metrics if name in measured), None)


def _line(found: dict[str, Any]) -> dict[str, str]:
    """A model's cells by column; columns without a value are left out."""
    line = {
        "tag": found["tag"],
        "aliases": "not readable" if found["aliases"] is None else ", ".join(found["aliases"]),
        "labels": "not readable" if found["labels"] is None else _given(found["labels"]),
        "created": (found["created"] or "")[:19],
        "digest": (found["digest"] or "-")[:DIGEST_SHOWN],
    }
    if found["scheme"] is None:
        return line | {"scheme": f"not readable: {found['error'][:60]}"}
    recovery = found["recovery"].get(found["primary"])
    return line | {
        "scheme": found["scheme"],
        "runtime": found["runtime"],
        "recovery": "-" if recovery is None else f"{recovery:.4f} ({found['primary']})",
        "size": megabytes(found["size_bytes"]),
        "ratio": "-" if found["size_ratio"] is None else f"{found['size_ratio']:.3f}",
        "speedup": speed(found["speedup"]),
        "gates": NOT_JUDGED if found["judged"] is False else verdict(found["gates"]),
    }


def _given(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
