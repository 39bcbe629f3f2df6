"""What cannot be judged as the recipe says is found before any work, and its metrics can be gated."""

from __future__ import annotations

import pytest

from quantbento.making import evaluation_checks
from quantbento.making.resolve import resolve
from quantbento.recipe import read_recipe
from tests.minimal_recipe import minimal


def problems(**changes) -> list[str]:
    read = read_recipe(minimal(**changes))
    return read.document.lines(resolve(read)[1])


def evaluation(**more) -> dict:
    return {"factory": "a.b:d", **more}


TEXTS = {"task": "feature-extraction", "model": {"id": "a/b"}}
OWN = evaluation(metrics={"mine": "a.b:c", "cost": {"function": "a.b:c", "better": "lower"}})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"evaluation": evaluation(kind="pairs")}, "kind 'pairs' compares embeddings of texts, which task 'tensor'"),
        ({"evaluation": evaluation(metrics={"accuracy": "a.b:c"})}, "'accuracy' is a metric of task 'tensor'; choose"),
        ({"gates": {"max": {"cost": 1}}}, "unknown metric 'cost'"),
        ({"gates": {"confident": True, "max": {"max_error": 1}}}, "'max_error' is decided by one sample"),
        (
            {"gates": {"confident": True, "min_speedup": 1}, "benchmark": {"rounds": 5}},
            r"min_speedup needs benchmark: {rounds: 6} or more, and paired: true",
        ),
        (
            {**TEXTS, "evaluation": {"dataset": "d", "kind": "pairs", "columns": {"scor": "x"}}},
            "kind 'pairs' reads no field 'scor'; did you mean 'score'",
        ),
    ],
    ids=["kind", "name", "unknown", "extreme", "rounds", "columns"],
)
def test_problems(changes, told):
    (found,) = problems(**changes)
    assert told in found


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation": OWN, "gates": {"max": {"cost": 1}, "max_drop": {"mine": 0.1}, "min_recovery": {"mine": 0.99}}},
        {**TEXTS, "evaluation": evaluation(kind="pairs"), "gates": {"max_drop": {"spearman_cosine": 0.01}}},
        {"gates": {"confident": True, "min": {"accuracy": 0.9}, "min_speedup": 1, "level": "mlperf-99.9"}},
    ],
    ids=["own", "pairs", "confident"],
)
def test_gates_may_name_what_is_measured(changes):
    assert problems(**changes) == []


def test_windows_of_tokens_have_no_groups_and_no_samples():
    table = {"dataset": "d", "group": "x", "worst": 3}
    found = problems(task="text-generation", evaluation=table, variants=[{"name": "rtn", "quantizer": "rtn"}])
    assert sum("is judged on windows of tokens" in line for line in found) == 2


def test_a_resolved_recipe_knows_its_metrics():
    resolved, _ = resolve(read_recipe(minimal(evaluation=OWN)))
    assert (resolved.metrics["mine"].better, resolved.metrics["cost"].better) == (1, -1)
    assert resolved.primary == ("accuracy", "sqnr_db", "agreement")
    assert resolved.recovering == ("accuracy", "agreement")
    resolved, _ = resolve(read_recipe(minimal(**TEXTS, evaluation=evaluation(kind="pairs"))))
    assert resolved.primary[0] == "spearman_cosine"


def test_functions_are_looked_at_before_a_run():
    spec = evaluation(metrics={"strange": "tests.judging.evaluation.test_own:strange", "gone": "tests.jobs:gone"})
    resolved, _ = resolve(read_recipe(minimal(evaluation=spec)))
    found = evaluation_checks.problems(resolved.recipe, resolved.task, None, call=True)
    assert [problem.loc for problem in found] == [
        ("evaluation", "metrics", "strange"),
        ("evaluation", "metrics", "gone"),
    ]
    assert "takes 'predictions'" in found[0].message
    assert "tests.jobs has no 'gone'" in found[1].message
    assert evaluation_checks.problems(resolved.recipe, resolved.task, None, call=False) == []
