"""Reports of several machines become the report that one run would have written."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from quantbento import cli
from quantbento.core.errors import QuantbentoError
from quantbento.judging.report.merge import MACHINES, add, merge

CPU = {"python": "3.11.4", "cpu": "Xeon", "threads": 2, "device": "cpu", "gpu": None}


def reference(name: str, runtime: str, speedup: float = 1.0) -> dict:
    return {"name": name, "runtime": runtime, "speedup": {"median": speedup}, "metrics": {"accuracy": 0.9}}


def variant(name: str, speedup: float = 2.0, **more) -> dict:
    row = {"name": name, "runtime": "onnx", "metrics": {"accuracy": 0.89}, "speedup": {"median": speedup}}
    return row | {"passed": True, "error": None} | more


def report(variants: list[dict], references: list[dict] = (), packages=None, **environment) -> dict:
    content = {"name": "moons", "task": "tensor", "variants": [{"name": v["name"]} for v in variants]}
    wanted = "".join(f" --variant {v['name']}" for v in variants)
    return {
        "schema_version": 1,
        "recipe": "moons",
        "task": "tensor",
        "baseline": reference("torch-fp32", "torch"),
        "references": list(references),
        "variants": variants,
        "environment": CPU | {"packages": packages or {"numpy": "2.0"}} | environment,
        "provenance": {
            "created": "2026-01-01",
            "recipe": {"content": content, "order": ["a", "b", "c"], "file": "moons.yaml"},
            "source": {"sha256": "1"},
            "samples": {"evaluation": {"sha256": "2"}},
            "commands": [f"quantbento save moons.yaml --force{wanted}", "quantbento report moons.yaml"],
        },
    }


@pytest.fixture
def folder(tmp_path):
    def write(name: str, content: dict, below: str = "moons") -> Path:
        place = tmp_path / name / below
        place.mkdir(parents=True)
        (place / "report.json").write_text(json.dumps(content))
        return tmp_path / name

    return write


def merged(tmp_path, *folders) -> tuple[dict, list[str]]:
    done = merge(folders, tmp_path / "merged")
    assert done.path == tmp_path / "merged" / "moons" / "report.json"
    assert json.loads(done.path.read_text()) == done.report
    return done.report, done.notes


def test_rows_are_in_the_recipes_order_and_references_in_a_runs(folder, tmp_path):
    openvino, onnx, bf16 = (
        reference("openvino-fp32", "openvino"),
        reference("onnx-fp32", "onnx"),
        reference("torch-bf16", "torch"),
    )
    one = folder("one", report([variant("c")], [bf16, openvino], {"numpy": "2.0", "openvino": "26"}))
    other = folder(
        "other", report([variant("b"), variant("a")], [bf16, onnx], {"numpy": "2.0", "onnx": "1"}), below="."
    )
    found, notes = merged(tmp_path, one, other)
    assert notes == []
    assert [v["name"] for v in found["variants"]] == ["a", "b", "c"]
    assert [v["name"] for v in found["provenance"]["recipe"]["content"]["variants"]] == ["a", "b", "c"]
    assert [r["name"] for r in found["references"]] == ["torch-bf16", "onnx-fp32", "openvino-fp32"]
    assert found["environment"]["packages"] == {"numpy": "2.0", "onnx": "1", "openvino": "26"}
    assert MACHINES not in found["environment"]
    commands = found["provenance"]["commands"]
    assert commands == ["quantbento save moons.yaml --force", "quantbento report moons.yaml"]


def test_commands_name_the_variants_where_some_are_missing(folder, tmp_path):
    found, _ = merged(tmp_path, folder("one", report([variant("a")])), folder("other", report([variant("b")])))
    assert found["provenance"]["commands"][0] == "quantbento save moons.yaml --force --variant a"


def test_speeds_of_other_machines_are_kept_and_said(folder, tmp_path):
    one = folder("one", report([variant("a", 2.0)], [reference("torch-bf16", "torch", 1.8)]))
    slow = report([variant("b", 3.0)], [reference("torch-bf16", "torch", 0.4)], {"numpy": "2.1"}, cpu="Atom")
    found, notes = merged(tmp_path, one, folder("other", slow))
    assert [v["speedup"]["median"] for v in found["variants"]] == [2.0, 3.0]
    assert found["references"][0]["speedup"]["median"] == 1.8
    line = "b: on another machine (cpu: Atom; numpy: 2.1)"
    assert found["environment"][MACHINES] == [line]
    assert found["environment"]["cpu"] == "Xeon"
    assert notes == [f"{line}. Its speedups are over the baseline there"]


def test_another_baseline_is_said(folder, tmp_path):
    other = report([variant("b")])
    other["baseline"]["name"] = "onnx-fp32"
    _, notes = merged(tmp_path, folder("one", report([variant("a")])), folder("other", other))
    assert notes == ["b: compared with onnx-fp32, not with torch-fp32"]


def test_of_a_variant_twice_the_first_that_could_be_made_is_taken(folder, tmp_path):
    one = folder("one", report([variant("a", error="no memory", passed=False), variant("b", 1.0)]))
    found, notes = merged(tmp_path, one, folder("other", report([variant("a", 5.0), variant("b", 9.0)])))
    assert [v["speedup"]["median"] for v in found["variants"]] == [5.0, 1.0]
    assert [v["error"] for v in found["variants"]] == [None, None]
    assert "a is in several reports; the first that could be made is taken" in notes


def test_files_beside_the_reports_come_along(folder, tmp_path):
    one, other = folder("one", report([variant("a")])), folder("other", report([variant("b")]))
    (one / "moons" / "sensitivity-a.json").write_text('{"schema_version": 1, "variant": "a"}')
    for place in (one, other):
        (place / "moons" / "bench.json").write_text(json.dumps({"schema_version": 1, "of": place.name}))
    _, notes = merged(tmp_path, one, other)
    assert json.loads((tmp_path / "merged/moons/sensitivity-a.json").read_text())["variant"] == "a"
    assert json.loads((tmp_path / "merged/moons/bench.json").read_text())["of"] == "one"
    assert notes == [f"{other / 'moons' / 'bench.json'} is left out: an earlier report has one, too"]


def _other_recipe(content):
    content["recipe"] = "suns"


def _other_model(content):
    content["provenance"]["source"] = {"sha256": "9"}


def _other_samples(content):
    content["provenance"]["samples"] = {"evaluation": {"sha256": "9"}}


def _other_settings(content):
    content["provenance"]["recipe"]["content"]["benchmark"] = {"items": 1}


def _newer(content):
    content["schema_version"] = 2


def _unfinished(content):
    content["baseline"] = None


def _old(content):
    del content["provenance"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_recipe, "recipe is 'suns', not 'moons' as in"),
        (_other_model, "the model of its recipe are not those of"),
        (_other_samples, "the samples of its recipe are not those of"),
        (_other_settings, "its recipe differs from that of .* in benchmark"),
        (_newer, "schema_version 2; this quantbento reads 1"),
        (_unfinished, "it has no baseline: its run did not get that far"),
        (_old, "it does not say which model it is of; make it again with: quantbento save"),
    ],
    ids=lambda v: v.__name__.strip("_") if callable(v) else "",
)
def test_reports_of_something_else_are_refused(folder, tmp_path, change, said):
    other = copy.deepcopy(report([variant("b")]))
    change(other)
    with pytest.raises(QuantbentoError, match=said):
        merge([folder("one", report([variant("a")])), folder("other", other)], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_every_problem_is_listed(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    two = folder("two", report([variant("a")]), below="moons")
    folder("two", report([variant("a")]), below="suns")
    with pytest.raises(QuantbentoError) as raised:
        merge([tmp_path / "empty", tmp_path / "missing", two], tmp_path / "merged")
    lines = str(raised.value).splitlines()
    assert lines[1:] == [
        f"  - {tmp_path / 'empty'}: one report.json is needed, none there",
        f"  - {tmp_path / 'missing'}: one report.json is needed, none there",
        f"  - {two}: one report.json is needed, it has those of 'moons' or 'suns'; name one",
    ]


def test_none_of_the_reports_is_overwritten(folder, tmp_path):
    one = folder("one", report([variant("a")]))
    with pytest.raises(QuantbentoError, match="would be overwritten; name another folder with --output"):
        merge([one, folder("other", report([variant("b")]))], one)


def test_the_command_ends_as_save_does(folder, tmp_path, capsys, monkeypatch):
    from quantbento.judging.report import page

    monkeypatch.setattr(page, "write", lambda path: page.Written(path.with_name("report.html"), []))
    one = folder("one", report([variant("a")]))
    other = folder("other", report([variant("b", passed=False)], threads=8))
    output = ["--output", str(tmp_path / "merged")]
    assert cli.main(["merge", str(one), *output]) == 0
    assert cli.main(["merge", str(one), str(other), *output]) == 1
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "a: passed",
        "b: failed its gates",
        "note: b: on another machine (threads: 8). Its speedups are over the baseline there",
        f"report: {tmp_path / 'merged' / 'moons' / 'report.json'}",
    ]
    broken = folder("broken", report([variant("c", passed=False, error="no memory")]))
    assert cli.main(["merge", str(one), str(broken), *output]) == 2
    assert cli.main(["merge", str(tmp_path / "missing"), *output]) == 2
    assert capsys.readouterr().err.startswith("error: the reports cannot be merged:\n  - ")


def unjudged(name: str, **more) -> dict:
    return variant(name, passed=False, judged=False, metrics={}, speedup=None) | more


def test_a_judged_row_wins_over_an_unjudged_one_and_brings_the_baseline(folder, tmp_path):
    made = report([unjudged("a"), unjudged("b")], threads=64) | {"baseline": None}
    judged = report([variant("b")], [reference("onnx-fp32", "onnx")])
    document, notes = merged(tmp_path, folder("made", made), folder("judged", judged))
    assert [(row["name"], row["passed"]) for row in document["variants"]] == [("a", False), ("b", True)]
    assert document["baseline"]["name"] == "torch-fp32" and document["environment"]["threads"] == 2
    assert notes == []


def test_reports_without_any_judging_are_merged(folder, tmp_path, capsys, monkeypatch):
    from quantbento.judging.report import page

    monkeypatch.setattr(page, "write", lambda path: page.Written(path.with_name("report.html"), []))
    places = [folder(n, report([unjudged(n)]) | {"baseline": None}) for n in ("a", "b")]
    assert cli.main(["merge", *map(str, places), "--output", str(tmp_path / "merged")]) == 3
    assert capsys.readouterr().out.splitlines()[:2] == ["a: not judged", "b: not judged"]


def test_a_report_is_added_to_the_one_that_is_there(folder, tmp_path):
    place = folder("reports", report([unjudged("a"), variant("b", 3.0)]))
    own = folder("own", report([variant("a", 4.0)])) / "moons" / "report.json"
    done = add(own, place)
    assert done.path == place / "moons" / "report.json"
    written = json.loads(done.path.read_text())["variants"]
    assert [(row["name"], row["speedup"]["median"]) for row in written] == [("a", 4.0), ("b", 3.0)]
    assert add(own, tmp_path / "empty").report["variants"][0]["name"] == "a"
