"""A report as it lies on disk: `report.json`, and what other commands wrote beside it.

Fields that an older quantbento did not write are empty.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from quantbento.core import registry
from quantbento.core.errors import QuantbentoError, summary
from quantbento.judging.rows import SCHEMA_VERSION
from quantbento.recipe import name_in

REPORT = "report.json"
Row = dict[str, Any]


@dataclass
class Document:
    """What there is to show.

    Attributes:
        path: `report.json`.
        report: its content; see `quantbento.judging.rows`.
        bench, ablation: `bench.json` and `ablation.json`; None where there is none.
        sensitivity: every `sensitivity-<variant>.json`.
    """

    path: Path
    report: Row
    bench: Row | None = None
    ablation: Row | None = None
    sensitivity: list[Row] = field(default_factory=list)

    @property
    def recipe(self) -> str:
        return str(self.report["recipe"])

    @property
    def task(self) -> str:
        return str(self.report["task"])

    @property
    def unit(self) -> str:
        return str(self.report.get("throughput_unit") or "inputs/s")

    @property
    def variants(self) -> list[Row]:
        return self.report["variants"]

    @property
    def full_precision(self) -> list[Row]:
        """The baseline and the references."""
        rows = [self.report.get("baseline"), *(self.report.get("references") or [])]
        return [row for row in rows if row]

    @property
    def environment(self) -> Row:
        return self.report.get("environment") or {}

    @property
    def provenance(self) -> Row:
        return self.report.get("provenance") or {}

    @property
    def placeholder(self) -> bool:
        """Whether the samples only stand in for the user's."""
        return bool(((self.provenance.get("samples") or {}).get("evaluation") or {}).get("placeholder"))

    @cached_property
    def better(self) -> dict[str, int]:
        """By metric, +1 where larger is better and -1 where smaller is."""
        return self.report.get("better") or {name: m.better for name, m in _declared(self.task, "metrics", {}).items()}

    @cached_property
    def primary(self) -> str:
        """The first of the task's primary metrics that a variant or the baseline has; empty if there is none."""
        rows = [*self.full_precision, *self.variants]
        measured = [name for row in rows for name in row.get("metrics") or {}]
        named = self.report.get("primary") or _declared(self.task, "primary", ())
        return next((name for name in [*named, *measured] if name in measured), "")

    @property
    def metrics(self) -> list[str]:
        """The metrics of any row, in the order in which they appear."""
        rows = [*self.variants, *self.full_precision]
        return list(dict.fromkeys(name for row in rows for name in row.get("metrics") or {}))

    def quality(self, row: Row) -> float | None:
        """The recovery of the primary metric; for full precision, its value by the baseline's. None where there is
        none, as of an error that is zero in full precision."""
        if not recovers(self.task, self.primary):
            return None
        if "recovery" in row:
            return row["recovery"].get(self.primary)
        own = (row.get("metrics") or {}).get(self.primary)
        baseline = ((self.report.get("baseline") or {}).get("metrics") or {}).get(self.primary)
        recovered = any(self.primary in (v.get("recovery") or {}) for v in self.variants)
        if not own or not baseline or not recovered:
            return None
        return (own / baseline) ** self.better.get(self.primary, 1)


def recovers(task: str, metric: str) -> bool:
    """Whether a share of the baseline's value means something: not of an error, nor of decibels."""
    declared = _declared(task, "metrics", {}).get(metric)
    return declared is None or declared.recovers


def read(path: Path) -> Document:
    """The report in a file, and the files beside it.

    Raises:
        QuantbentoError: it is missing, no report, or from a newer quantbento; or a file beside it is damaged.
    """
    report = _json(path)
    rows = report.get("variants")
    named = isinstance(rows, list) and all(isinstance(row, dict) and "name" in row for row in rows)
    if not isinstance(report.get("recipe"), str) or not named:
        raise QuantbentoError(f"{path} is no report: it lacks `recipe` or `variants`. Make one with: quantbento save")
    folder = path.parent
    beside = {name: _json(folder / f"{name}.json") for name in ("bench", "ablation") if _there(folder, name)}
    sensitivity = [_json(file) for file in sorted(folder.glob("sensitivity-*.json"))]
    return Document(path, {"task": "", **report}, sensitivity=sensitivity, **beside)


def find(name: str, output: Path) -> Path:
    """The path of a report that a user names: by its file, its folder, its recipe's file or its recipe's name.

    Raises:
        QuantbentoError: there is none; says which command makes it.
    """
    given = Path(name)
    if given.is_dir() and (given / REPORT).is_file():
        return given / REPORT
    if given.suffix == ".json":
        if not given.is_file():
            raise QuantbentoError(f"no report {given}. Make one with: quantbento save RECIPE")
        return given
    recipe = name_in(given) if given.suffix in (".yaml", ".yml") else name
    path = output / recipe / REPORT
    if not path.is_file():
        known = sorted(p.parent.name for p in output.glob(f"*/{REPORT}"))
        there = f" ({output} has {', '.join(known)})" if known else ""
        raise QuantbentoError(f"no report {path}{there}. Make one with: quantbento save {name}")
    return path


def _declared(task: str, name: str, missing: Any) -> Any:
    """What the task's class declares, for reports that do not hold it."""
    try:
        return getattr(registry.task(task), name)
    except (QuantbentoError, ImportError):  # a user's own task that is not here
        return missing


def _there(folder: Path, name: str) -> bool:
    return (folder / f"{name}.json").is_file()


def _json(path: Path) -> Row:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuantbentoError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise QuantbentoError(f"{path} is no JSON ({summary(error)}). Delete it, or make it again") from None
    if not isinstance(content, dict):
        raise QuantbentoError(f"{path} is no report: it holds a {type(content).__name__}, not an object")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise QuantbentoError(
            f"{path} has schema_version {version!r}; this quantbento reads {SCHEMA_VERSION}. "
            "If it is newer, run: pip install --upgrade quantbento"
        )
    return content
