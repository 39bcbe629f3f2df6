"""What other samples could have turned over is said below the table."""

from quantbento.judging.report.doubts import doubts
from quantbento.judging.rows import ReferenceRow, Report, VariantRow


def test_noise_gates_and_groups_have_a_line_each():
    baseline = ReferenceRow("torch-fp32", "torch", 1, 1.0, {"accuracy": 0.91}, {}, 1.0, {"median": 1.0}, None)
    gate = {"metric": "accuracy", "rule": "max_drop", "limit": 0.02, "value": 0.01, "passed": True}
    row = VariantRow("int8", "q", "s", {}, "onnx", metrics={"accuracy": 0.9})
    row.intervals = {"accuracy": {"drop": [-0.01, 0.03]}}
    row.gates = [gate | {"interval": [-0.01, 0.03]}, gate | {"interval": [0.0, 0.015]}]
    row.groups = {"fr": {"samples": 5, "metrics": {"accuracy": 0.8}, "baseline": {"accuracy": 1.0}}}
    report = Report("r", "t", baseline=baseline, variants=[row], better={"accuracy": 1})
    noise, doubtful, group = doubts(report, row, "accuracy")
    assert "within noise (95 % interval of the drop -0.01 to 0.03)" in noise
    assert doubtful == (
        "max_drop accuracy passed: 0.01 against 0.02 (0.01 to spare): within noise, "
        "the 95 % interval of 0.01 is -0.01 to 0.03"
    )
    assert group.startswith("worst groups by accuracy: 'fr' 0.8")


def test_a_report_of_an_older_version_has_none():
    row = VariantRow("int8", "q", "s", {}, "onnx", metrics={"accuracy": 0.9})
    baseline = ReferenceRow("torch-fp32", "torch", 1, 1.0, {"accuracy": 0.9}, {}, 1.0, {"median": 1.0}, None)
    assert doubts(Report("r", "t", baseline=baseline, variants=[row]), row, "accuracy") == []
