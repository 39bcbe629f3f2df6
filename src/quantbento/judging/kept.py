"""References that an earlier run evaluated. Their rows are kept without pickles: a line of JSON that says what there
is, and the arrays as `.npz`."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbento.core import registry
from quantbento.core.stage_cache import StageCache
from quantbento.runtimes.base import Runtime
from quantbento.tasks.base import Arrays
from quantbento.tasks.rows import stacked

NAMES, ARRAYS = "rows.json", "rows.npz"


@dataclass
class KeptReference:
    """A reference's place in the cache.

    Attributes:
        artifact: its folder, whose name is the reference's.
        runtime: what runs it.
        depends: what else it depends on beside what all stages do.
    """

    cache: StageCache
    artifact: Path
    runtime: type[Runtime]
    depends: dict[str, Any]

    def restore(self) -> tuple[Arrays, dict[str, float]] | None:
        """Its rows and metrics, with the artifact in place; None where no earlier run evaluated it."""
        if self.cache.folder is None:
            return None
        metrics = self.cache.restore("reference", self._depends, self._folders)
        return None if metrics is None else (read(self._rows), metrics)

    def keep(self, rows: Arrays, metrics: dict[str, float]) -> None:
        """For a later run, once it is evaluated."""
        if self.cache.folder is not None:
            write(rows, self._rows)
            self.cache.keep("reference", self._depends, metrics, self._folders)
            shutil.rmtree(self._rows)

    @property
    def _depends(self) -> dict[str, Any]:
        outside = registry.identity("runtime", registry.name_of("runtime", self.runtime))
        return {"name": self.artifact.name, "runtime": outside, **self.depends}

    @property
    def _rows(self) -> Path:
        return self.artifact.with_name(f"{self.artifact.name}-rows")

    @property
    def _folders(self) -> dict[str, Path]:
        return {"artifact": self.artifact, "rows": self._rows}


def write(rows: Arrays, folder: Path) -> None:
    """Writes rows into a new folder. Rows of different shapes become one array each.

    Args:
        rows: arrays by output name, one row per item; see `quantbento.tasks.rows`.
        folder: created if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int | None] = {}
    arrays: Arrays = {}
    for number, (name, values) in enumerate(rows.items()):
        counts[name] = len(values) if values.dtype == object else None
        parts = list(values) if values.dtype == object else [values]
        arrays |= {f"{number}-{index}": np.asarray(part) for index, part in enumerate(parts)}
    assert not any(array.dtype.hasobject for array in arrays.values()), "only a pickle could hold these rows"
    np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type]
    (folder / NAMES).write_text(json.dumps(counts), encoding="utf-8")


def read(folder: Path) -> Arrays:
    """What `write` was given."""
    counts = json.loads((folder / NAMES).read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        return {
            name: arrays[f"{number}-0"] if count is None else stacked([arrays[f"{number}-{i}"] for i in range(count)])
            for number, (name, count) in enumerate(counts.items())
        }
