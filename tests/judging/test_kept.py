"""Rows are written and read without pickles; a reference comes back as it was evaluated."""

from __future__ import annotations

import numpy as np
import pytest

from quantbento.core.stage_cache import StageCache
from quantbento.judging import kept
from quantbento.judging.kept import KeptReference
from quantbento.runtimes.torch import TorchRuntime
from quantbento.tasks.rows import stacked
from tests.jobs import numbers


def ragged(*sizes: int) -> np.ndarray:
    return stacked([numbers(size, 2) for size in sizes])


@pytest.mark.parametrize(
    "rows",
    [
        {"embedding": numbers(5, 3)},
        {"label": np.arange(4), "mask/of it": np.array([True, False, True, True])},
        {"tags": ragged(1, 3, 2), "scores": numbers(3)},
        {"tags": ragged(2, 5, 0)},
        {},
    ],
    ids=["floats", "integers", "ragged", "an empty row", "none"],
)
def test_rows_come_back_as_they_were(rows, tmp_path):
    kept.write(rows, tmp_path / "rows")
    found = kept.read(tmp_path / "rows")
    assert list(found) == list(rows)
    for name, values in rows.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        for one, other in zip(found[name], values, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_rows_that_only_a_pickle_could_hold_are_a_bug(tmp_path):
    objects = np.empty(1, dtype=object)
    objects[0] = np.array([object()])
    with pytest.raises(AssertionError, match="only a pickle"):
        kept.write({"x": objects}, tmp_path)


@pytest.fixture
def references(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cache = StageCache(tmp_path / "stages", {}, limit=10_000_000)

    def make(workspace: str, name: str = "torch-fp32", **depends) -> KeptReference:
        folder = tmp_path / workspace / name
        folder.mkdir(parents=True, exist_ok=True)
        return KeptReference(cache, folder, TorchRuntime, depends)

    return make


def test_a_reference_comes_back_with_its_artifact_rows_and_metrics(references):
    rows, first = {"y": numbers(4, 2)}, references("one", own=True)
    assert first.restore() is None
    (first.artifact / "model.pkl").write_bytes(b"weights")
    first.keep(rows, {"sqnr_db": 200.0})
    assert [p.name for p in first.artifact.parent.iterdir()] == ["torch-fp32"], (
        "the size of an artifact is without rows"
    )
    again = references("two", own=True)
    found, metrics = again.restore()
    np.testing.assert_array_equal(found["y"], rows["y"])
    assert metrics == {"sqnr_db": 200.0}
    assert (again.artifact / "model.pkl").read_bytes() == b"weights"
    assert references("three", own=False).restore() is None
    assert references("four", "torch-bf16", own=True).restore() is None
