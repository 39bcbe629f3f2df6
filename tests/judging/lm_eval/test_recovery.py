"""Recovery is per task and of the average, as Red Hat's model cards print it."""

import pytest

from quantbento.judging.lm_eval.recovery import beside_baseline, gated


def figure(value, better=1, stderr=None):
    return {"metric": "acc", "value": value, "stderr": stderr, "better": better, "num_fewshot": 0, "samples": 100}


BASELINE = {"arc": figure(0.8, stderr=0.04), "gsm8k": figure(0.4), "wiki": figure(2.0, better=-1)}
VARIANT = {"arc": figure(0.76, stderr=0.05), "gsm8k": figure(0.42), "wiki": figure(2.5, better=-1)}


def test_each_task_and_the_average_of_those_where_larger_is_better():
    rows = beside_baseline(VARIANT, BASELINE)
    assert rows["arc"] == {**figure(0.76, stderr=0.05), "baseline": 0.8, "baseline_stderr": 0.04, "recovery": 0.95}
    assert rows["gsm8k"]["recovery"] == pytest.approx(1.05)
    assert rows["wiki"]["recovery"] == pytest.approx(0.8)
    assert rows["average"] == pytest.approx({"value": 0.59, "baseline": 0.6, "recovery": 0.59 / 0.6, "tasks": 2})


def test_without_a_task_where_larger_is_better_there_is_no_average():
    assert "average" not in beside_baseline({"wiki": VARIANT["wiki"]}, {"wiki": BASELINE["wiki"]})


def test_a_baseline_of_zero_has_no_recovery():
    assert beside_baseline({"arc": figure(0.1)}, {"arc": figure(0.0)})["arc"]["recovery"] is None


def test_gates_name_them_with_a_prefix():
    metrics, baseline, better = gated(beside_baseline(VARIANT, BASELINE))
    assert metrics == pytest.approx(
        {"lm_eval.arc": 0.76, "lm_eval.gsm8k": 0.42, "lm_eval.wiki": 2.5, "lm_eval.average": 0.59}
    )
    assert baseline["lm_eval.wiki"] == 2.0
    assert better == {"lm_eval.arc": 1, "lm_eval.gsm8k": 1, "lm_eval.wiki": -1, "lm_eval.average": 1}
    assert gated({}) == ({}, {}, {})
