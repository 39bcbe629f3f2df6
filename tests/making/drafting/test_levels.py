"""A gate on what was measured, at the level that is asked for."""

from __future__ import annotations

import pytest

from quantbento.core import registry
from quantbento.making.drafting.levels import LEVELS, gates
from quantbento.recipe import Gates
from quantbento.tasks.base import Metric


def of(task: str, labelled: bool, level: str = "99", **config: object) -> dict:
    found = registry.task(task)
    return gates(found, found.measured(config), level, labelled)


@pytest.mark.parametrize(
    ("task", "config", "with_labels", "without"),
    [
        ("text-classification", {}, "accuracy", "agreement"),
        ("text-classification", {"problem_type": "multi_label_classification"}, "f1_micro", "agreement"),
        ("feature-extraction", {}, "mean_cosine", "mean_cosine"),
        ("text-generation", {}, "perplexity", "perplexity"),
        ("text-ranking", {}, "ndcg_10", "score_spearman"),
        ("token-classification", {}, "entity_f1", "entity_agreement"),
        ("image-classification", {}, "accuracy", "agreement"),
    ],
)
def test_the_gate_is_on_the_first_metric_that_can_be_measured(task, config, with_labels, without):
    assert of(task, True, **config) == {"min_recovery": {with_labels: 0.99}}
    assert of(task, False, level="99.9", **config) == {"min_recovery": {without: 0.999}}


def test_decibels_say_how_much_of_the_energy_is_lost():
    assert of("tensor", False) == {"min": {"sqnr_db": 20.0}}
    assert of("tensor", False, level="99.9") == {"min": {"sqnr_db": 30.0}}


def test_a_difference_has_no_natural_limit():
    config = {"problem_type": "regression"}
    assert of("text-classification", False, **config) == {}
    assert of("text-classification", True, **config) == {"min_recovery": {"spearman": 0.99}}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", registry.names("task"))
@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "no-labels"])
def test_every_task_has_gates_that_a_recipe_takes(name, level, labelled):
    task = registry.task(name)
    found = Gates(**gates(task, task.metrics, level, labelled))
    [metric] = [*found.min, *found.min_recovery]
    assert isinstance(task.metrics[metric], Metric)
    assert labelled or not task.metrics[metric].labelled
