"""`report.json` has the promised shape, is valid JSON, and is replaced in one step."""

from __future__ import annotations

import json

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.rows import ReferenceRow, Report, VariantRow

PROMISED = {
    *("name", "quantizer", "options", "runtime", "tag", "size_bytes", "size_ratio", "metrics", "recovery"),
    *("speedup", "peak_memory_bytes", "load_seconds", "quantize_seconds", "quantized", "sample", "gates", "passed"),
}
SPEEDUP = {"median": 1.5, "p10": 1.4, "p90": 1.6}


def variant(name="int8", **fields) -> VariantRow:
    return VariantRow(name, "onnx-dynamic", "int8-dynamic", {"per_channel": True}, "onnx", **fields)


@pytest.fixture
def report():
    baseline = ReferenceRow("torch-fp32", "torch", 1000, 1.0, {"accuracy": 0.9}, {"p50": 2.0}, 80.0, SPEEDUP, 5000)
    return Report(
        "demo",
        "tensor",
        ("accuracy",),
        baseline=baseline,
        variants=[variant(passed=True)],
        environment={"python": "3.11"},
    )


def read(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_file_has_what_the_readme_promises(report, tmp_path):
    path = report.write(tmp_path)
    assert path == report.path == tmp_path / "demo" / "report.json"
    written = read(path)
    assert {k: written[k] for k in ("schema_version", "recipe", "task", "throughput_unit", "environment")} == {
        "schema_version": 1,
        "recipe": "demo",
        "task": "tensor",
        "throughput_unit": "inputs/s",
        "environment": {"python": "3.11"},
    }
    assert written["baseline"]["metrics"] == {"accuracy": 0.9}
    assert written["variants"][0].keys() >= PROMISED
    assert {"size_bytes", "metrics", "latency_ms", "throughput"} <= written["baseline"].keys()


def test_a_report_without_baseline_can_be_written(tmp_path):
    assert read(Report("demo", "tensor").write(tmp_path))["baseline"] is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_know_are_null(report, tmp_path, value):
    report.variants = [variant(metrics={"sqnr_db": value, "accuracy": 0.5}, gates=[{"value": value}])]
    [written] = read(report.write(tmp_path))["variants"]
    assert written["metrics"] == {"sqnr_db": None, "accuracy": 0.5}
    assert written["gates"] == [{"value": None}]


def test_writing_again_replaces_the_file_and_leaves_nothing_else(report, tmp_path):
    report.write(tmp_path)
    report.variants.append(variant("other"))
    report.write(tmp_path)
    assert [v["name"] for v in read(report.path)["variants"]] == ["int8", "other"]
    assert [p.name for p in (tmp_path / "demo").iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written_leaves_the_one_before_it(report, tmp_path):
    before = report.write(tmp_path).read_bytes()
    report.variants = [variant(quantized={"not": object()})]
    with pytest.raises(TypeError):
        report.write(tmp_path)
    assert report.path.read_bytes() == before


def test_a_reader_never_sees_half_of_it(report, tmp_path):
    """The file is replaced, not overwritten: a reader that has it open keeps the old content."""
    report.write(tmp_path)
    with report.path.open() as reader:
        report.variants = [variant(f"v{i}") for i in range(1000)]
        report.write(tmp_path)
        assert len(json.load(reader)["variants"]) == 1
    assert len(read(report.path)["variants"]) == 1000


def test_a_folder_that_cannot_be_is_an_error_that_names_the_option(report, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(QuantbentoError, match=r"could not be written: Not a directory;.*--output"):
        report.write(tmp_path / "file")


@pytest.mark.parametrize(
    ("variants", "code"),
    [
        ([], 0),
        ([variant(passed=True), variant(passed=True)], 0),
        ([variant(passed=True), variant()], 1),
        ([variant(passed=True), variant(error="did not load")], 2),
        ([variant(), variant(error="did not load")], 2),
    ],
    ids=["none", "all-passed", "one-failed", "one-error", "failed-and-error"],
)
def test_exit_code(variants, code):
    assert Report("demo", "tensor", variants=variants).exit_code == code


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([{"passed": True}], 0),
        ([{"passed": True}, {"judged": False}], 3),
        ([{"passed": False}, {"judged": False}], 1),
        ([{"passed": False}, {"judged": False, "error": "no memory"}], 2),
        ([{"judged": False}], 3),
    ],
)
def test_the_exit_code_says_neither_passed_nor_failed_of_what_was_not_judged(rows, code):
    variants = [variant(f"v{number}", **fields) for number, fields in enumerate(rows)]
    assert Report("demo", "tensor", variants=variants).exit_code == code
