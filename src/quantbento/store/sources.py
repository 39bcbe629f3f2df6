"""What a user names to choose from: a recipe by its file or name, or a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.recipe import name_in
from quantbento.store import best
from quantbento.store.models import models

SCHEMA_VERSION = 1  # of report.json


def recipe_name(given: str) -> str | None:
    """The name of a recipe that is given by its file, or by its name where variants of it are stored; else None.

    Raises:
        QuantbentoError: the file is missing, or no recipe.
    """
    if given.endswith((".yaml", ".yml")):
        return name_in(Path(given))
    stored = models()
    if ":" in given or given in {model.tag.partition(":")[0] for model in stored}:
        return None
    return given if best.variants_of(given, stored) else None


def read_report(given: str) -> dict[str, Any]:
    """A report.json.

    Raises:
        QuantbentoError: it is missing, no report, or of a newer version.
    """
    try:
        report = json.loads(Path(given).read_text(encoding="utf-8"))
        schema = int(report["schema_version"])
        rows = report["variants"]
    except OSError as error:
        raise QuantbentoError(f"{given} cannot be read: {error.strerror}. A run writes it: quantbento save") from None
    except (ValueError, KeyError, TypeError):
        raise QuantbentoError(f"{given} is no report: allowed is reports/<recipe>/report.json") from None
    if schema > SCHEMA_VERSION:
        raise QuantbentoError(f"{given} was written by a newer quantbento. Run: pip install --upgrade quantbento")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "name" in row for row in rows):
        raise QuantbentoError(f"{given} is no report: allowed is reports/<recipe>/report.json")
    return report
