"""`recipe:best`: the promoted variant, or the best by what was measured."""

from __future__ import annotations

import pytest

from quantbento import store
from quantbento.core.errors import StoreError
from quantbento.store import alias_file, aliases, best
from tests.serving.stored import save_stand_in


def save(name: str, folder, ms: float, *, recipe: str = "moons", passed: bool = True, **more) -> store.StoredModel:
    row = {
        "name": name.removeprefix(f"{recipe}-"),
        "scheme": "int8",
        "latency_ms": {"p50": ms},
        "throughput": 1000 / ms,
        "speedup": {"median": 10 / ms, "p10": 9.9 / ms, "p90": 10.1 / ms},
        "size_bytes": 1000,
        "recovery": {"accuracy": 0.99},
        "passed": passed,
        "gates": [] if passed else [{"metric": "accuracy", "passed": False}],
        **more,
    }
    return save_stand_in(name, "tensor", folder, variant=row, recipe={"name": recipe, "task": "tensor"})


@pytest.fixture
def stored(bento_home, tmp_path) -> dict[str, store.StoredModel]:
    return {
        "slow": save("moons-slow", tmp_path / "a", 9),
        "fast": save("moons-fast", tmp_path / "b", 3),
        "failed": save("moons-failed", tmp_path / "c", 1, passed=False),
        "other": save("moonshine-x", tmp_path / "d", 1, recipe="moonshine"),
    }


def test_the_fastest_that_passed_with_the_reason(stored):
    found = store.find("moons:best")
    assert found == stored["fast"]
    assert found.chosen.startswith("the best latency of 2 that qualify: 3 ms. To decide by something else: quantbento")
    assert stored["fast"].chosen == ""


def test_what_was_promoted_wins_and_moves(stored, monkeypatch):
    times = iter(["2026-01-01", "2026-01-02", "2026-01-03"])
    monkeypatch.setattr(aliases, "_now", lambda: next(times))
    aliases.promote("moons-fast", "best")
    aliases.promote("moons-slow", "best")
    found = store.find("moons:best")
    assert found == stored["slow"]
    assert found.chosen == "promoted as moons-slow:best at 2026-01-02"
    assert store.find("moons-fast:best") == stored["fast"]  # an alias of one model is as any other
    aliases.retire("moons-slow", "best")
    assert store.find("moons:best") == stored["fast"]


def test_only_the_newest_version_of_a_variant_counts(stored, tmp_path):
    newer = save("moons-fast", tmp_path / "e", 20)
    assert store.find("moons:best") == stored["slow"]
    assert store.find("moons-fast") == newer


def test_a_damaged_variant_is_no_choice(stored):
    (stored["fast"].path / "manifest.json").write_text("{}")
    assert store.find("moons:best") == stored["slow"]


def test_a_promoted_version_that_is_gone(stored, monkeypatch):
    aliases.promote("moons-fast", "best")
    stored["fast"].path.rename(stored["fast"].path.parent.parent / "moons-slow" / "moved")
    save("moons-fast", stored["slow"].path.parent.parent.parent / "again", 4)
    with pytest.raises(alias_file.DanglingAlias, match="moons-fast:best stands for"):
        store.find("moons:best")


def test_none_and_no_such_recipe(bento_home, tmp_path):
    with pytest.raises(StoreError, match="no model 'moons' in the store"):
        store.find("moons:best")
    save("moons-failed", tmp_path / "a", 1, passed=False)
    with pytest.raises(StoreError, match=r"moons:best: nothing qualifies.*quantbento choose moons"):
        store.find("moons:best")
    with pytest.raises(StoreError, match="no version 'best' of 'moons-failed'"):
        store.find("moons-failed:best")


def test_a_recipe_by_its_name_or_its_file(stored, tmp_path):
    (tmp_path / "r.yaml").write_text("name: moons\n")
    models = store.models()
    names = [best.recipe_name(given, models) for given in ("moons", str(tmp_path / "r.yaml"))]
    assert names == ["moons", "moons"]
    assert best.recipe_name("moons-fast", models) is None
    assert best.recipe_name("moons-fast:best", models) is None
