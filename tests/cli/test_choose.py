"""`quantbento choose` as a user runs it."""

from __future__ import annotations

import json

import pytest

from quantbento import cli, store
from tests.store.test_best import save


@pytest.fixture
def stored(bento_home, tmp_path):
    return {name: save(f"moons-{name}", tmp_path / name, ms) for name, ms in (("slow", 9), ("fast", 3))}


def test_by_recipe_and_promoted(stored, capsys):
    assert cli.main(["choose", "moons", "--promote", "best"]) == 0
    said = capsys.readouterr().out
    fast = stored["fast"].tag
    assert said.startswith(f"{fast}: the best latency of 2 that qualify: 3 ms\n")
    assert f"dominated by {fast}: slower (9 ms against 3 ms)" in said
    assert said.endswith(f"moons-fast:best is {fast}\n")
    assert store.find("moons:best").chosen.startswith("promoted as moons-fast:best")


def test_by_tags_as_json(stored, capsys):
    words = ["choose", "moons-slow", "moons-fast", "--objective", "throughput", "-o", "json"]
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["chosen"], found["front"]) == (stored["fast"].tag, [stored["fast"].tag])
    assert found["candidates"][0]["latency"] == 9


def test_nothing_qualifies(stored, capsys):
    assert cli.main(["choose", "moons", "--max-latency-ms", "2.5", "--promote", "production"]) == 1
    assert f"nothing qualifies; nearest is {stored['fast'].tag}, which misses" in capsys.readouterr().out
    assert stored["fast"].aliases == []


def test_a_report(tmp_path, bento_home, capsys):
    row = {"name": "int8", "tag": None, "passed": True, "latency_ms": {"p50": 2.0}}
    report = {"schema_version": 1, "recipe": "toy", "task": "tensor", "variants": [row], "environment": {}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert cli.main(["choose", str(tmp_path / "report.json")]) == 0
    assert cli.main(["choose", str(tmp_path / "report.json"), "--promote", "best"]) == 2
    assert "int8 is not stored, so it cannot be promoted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["moon"], "no model 'moon' in the store"),
        (["moons", "moons-fast"], "moons names several variants by itself"),
        (["missing.json"], "missing.json cannot be read"),
        (["missing.yaml"], "missing.yaml cannot be read"),
        (["moons", "--max-size-mb", "0", "--min-speedup", "nan"], "--max-size-mb 0, --min-speedup nan: allowed are"),
        (["moons", "--metric", "accurcy"], "no variant has a recovery of 'accurcy'; did you mean 'accuracy'"),
    ],
    ids=["model", "two kinds", "report", "recipe", "limits", "metric"],
)
def test_a_mistake_is_exit_code_2(stored, capsys, words, said):
    assert cli.main(["choose", *words]) == 2
    assert said in capsys.readouterr().err


def test_speeds_of_two_machines_are_told(stored, tmp_path, capsys):
    rows = [{"name": n, "tag": None, "passed": True, "latency_ms": {"p50": 2.0}} for n in "ab"]
    from quantbento.cli.output.choice import machines
    from quantbento.store.candidates import of_row

    found = [of_row(row, "tensor", {"cpu": cpu}, None, None) for row, cpu in zip(rows, ("x", "y"), strict=True)]
    assert machines(found).startswith("speeds were measured on different machines (x; y)")
    assert machines(found[:1]) is None
