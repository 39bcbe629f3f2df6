"""bench.json: what was measured of stored models and of running services, beside a recipe's report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.judging.rows import make_output_folder

SCHEMA_VERSION = 1
NAME = "bench.json"
PARTS = ("models", "ratios", "served", "environment")


def read(path: Path) -> dict[str, Any]:
    """An earlier file, or an empty one.

    Raises:
        QuantbentoError: it is damaged, or of a newer version.
    """
    empty: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "models": [], "ratios": [], "served": []}
    if not path.is_file():
        return empty | {"environment": {}}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if int(found["schema_version"]) <= SCHEMA_VERSION:
            return {name: found[name] for name in ("schema_version", *PARTS)}
    except (ValueError, KeyError, TypeError):
        raise QuantbentoError(f"{path} is damaged; move it away, or name another folder with --output") from None
    raise QuantbentoError(f"{path} was written by a newer quantbento. Run: pip install --upgrade quantbento")


def write(path: Path, **parts: Any) -> None:
    """Replaces the named parts and keeps the others; a reader never sees half of it.

    Raises:
        QuantbentoError: the folder cannot be written to, or the file there is no bench.json.
    """
    make_output_folder(path.parent)
    document = read(path) | parts
    staged = path.with_suffix(".json.tmp")
    staged.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    staged.replace(path)


def with_served(path: Path, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The served runs of an earlier file and these, which replace those of the same service, model and load."""

    def load(run: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(run.get(name) for name in ("url", "model", "mode", "clients", "rate", "items_per_request"))

    new = {load(run) for run in runs}
    return [run for run in read(path)["served"] if load(run) not in new] + runs


def cost_per_million(price_per_hour: float, throughput: float) -> float:
    """The price of a million units of work, at `throughput` units per second without a pause."""
    return price_per_hour / 3600 / throughput * 1e6
