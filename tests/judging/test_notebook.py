"""A notebook shows a report as a table; text shows it as one line."""

from __future__ import annotations

import re

from quantbento.judging.rows import ReferenceRow, Report, VariantRow

SPEEDUP = {"median": 1.5, "p10": 1.4, "p90": 1.6}


def report() -> Report:
    baseline = ReferenceRow("torch-fp32", "torch", 1000, 1.0, {"accuracy": 0.9}, {"p50": 2.0}, 80.0, SPEEDUP, 5000)
    variants = [
        VariantRow("int8", "q", "W8A8", {}, "onnx", metrics={"accuracy": 0.89}, speedup=SPEEDUP, passed=True),
        VariantRow("<b>", "q", "W8A8", {}, "onnx", error="<script>"),
    ]
    return Report("demo", "tensor", ("accuracy",), baseline=baseline, variants=variants)


def test_the_table_has_a_row_for_each_model_and_escapes_names():
    html = report()._repr_html_()
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)[1:]]
    assert [row[0] for row in cells] == ["torch-fp32", "int8", "&lt;b&gt;"]
    assert cells[1][3] == "0.8900"
    assert cells[1][9] == "no gates"
    assert "<p>&lt;b&gt;: &lt;script&gt;</p>" in html
    assert "<script>" not in html


def test_the_text_is_one_line():
    assert repr(report()) == "Report(demo: 1 of 2 variants passed; not written)"
