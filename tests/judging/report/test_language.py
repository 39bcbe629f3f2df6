"""The console's tables of language models: tasks of lm-eval with recovery, and llama.cpp's figures of divergence."""

from __future__ import annotations

import io

from rich.console import Console

from quantbento.judging.lm_eval.recovery import beside_baseline
from quantbento.judging.report import console
from quantbento.judging.report.language import language_tables
from quantbento.judging.rows import Report, VariantRow
from tests.judging.lm_eval.test_recovery import BASELINE, VARIANT

KL = {"mean": 0.01234, "mean_stderr": 0.0004, "median": 0.004, "p90": 0.03, "p95": 0.05, "p99": 0.12, "p99_9": 0.4}
KL |= {"max": 1.5, "same_top": 0.9876, "same_top_stderr": 0.0012}
KL |= {"perplexity_ratio": 1.0312, "perplexity_ratio_stderr": 0.0021}


def variant(name: str, **fields) -> VariantRow:
    return VariantRow(name, "rtn", "W4A16", {}, "vllm", **fields)


def printed(*variants: VariantRow) -> list[list[str]]:
    screen = Console(width=300, record=True, file=io.StringIO())
    for table in language_tables(Report("demo", "text-generation", variants=list(variants))):
        screen.print(table)
    lines = screen.export_text().splitlines()
    return [[cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in lines]


def test_a_task_has_both_values_and_the_recovery_in_percent():
    rows = beside_baseline(VARIANT, BASELINE)
    lines = printed(variant("rtn", lm_eval=rows), variant("gptq", lm_eval={"arc": rows["arc"]}), variant("none"))
    assert lines[2] == ["task", "metric", "baseline", "rtn", "recovery", "gptq", "recovery"]
    assert ["arc", "acc", "0.8000 ± 0.0400", *["0.7600 ± 0.0500", "95.00 %"] * 2] in lines
    assert ["wiki", "acc (smaller is better)", "2.0000", "2.5000", "80.00 %", "-", "-"] in lines
    tasks = [line[0] for line in lines if line[0] in {*rows}]
    assert tasks == ["arc", "gsm8k", "wiki", "average"]
    assert ["average", "of 2", "0.6000", "0.5900", "98.33 %", "-", "-"] in lines


def test_divergence_is_as_llama_cpp_prints_it():
    [line] = [line for line in printed(variant("rtn", kl=KL), variant("failed")) if line[0] == "rtn"]
    middle = ["0.0040", "0.0300", "0.0500", "0.1200", "0.4000", "1.5000"]
    assert line == ["rtn", "0.0123 ± 0.0004", *middle, "98.76 ± 0.12 %", "1.0312 ± 0.0021"]


def test_other_models_have_none_of_it(capsys):
    assert printed(variant("int8")) == []
    console.print_report(Report("demo", "text-generation", variants=[variant("rtn", kl=KL)]))
    assert "perplexity ratio" in capsys.readouterr().out
