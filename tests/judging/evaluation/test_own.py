"""A function of the user's gets what its parameters name, in order, also of samples drawn anew."""

import numpy as np
import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.evaluation.own import Own, declared, problem
from quantbento.recipe.evaluation import OwnMetric
from quantbento.tasks.source import SampleSet
from quantbento.tasks.text_classification import TextClassification
from quantbento.tasks.text_generation import TextGeneration

SAMPLES = SampleSet(["a", "b", "c", "d"], labels=[1, 0, 1, 1])
OUTCOME = Outcome({"values": np.arange(4.0)}, answers=[1, 1, 1, 0])


def share(answers, labels):
    return np.mean([a == b for a, b in zip(answers, labels, strict=True)])


def total(rows, inputs, scale=2):
    assert len(rows["values"]) == len(inputs)
    return scale * rows["values"].sum()


def fails(labels):
    return 1 / labels.count(0)


def says_much(answers):
    return "much"


def strange(predictions, answers):
    return 0


def nothing():
    return 0


NOT_A_FUNCTION = 3


def metric(name: str, better: str = "higher") -> OwnMetric:
    return OwnMetric(function=f"{__name__}:{name}", better=better)


def own(*names: str) -> Own:
    return Own({name: metric(name) for name in names}, SAMPLES)


def test_functions_get_what_they_name():
    assert own("share", "total").measure(OUTCOME, OUTCOME) == {"share": 0.5, "total": 12}
    assert own("share", "total").resampler(OUTCOME, OUTCOME)(np.array([0, 0, 3])) == {"share": 2 / 3, "total": 6}


def test_larger_is_better_unless_the_recipe_says_otherwise():
    found = declared({"a": metric("share"), "b": metric("share", "lower")})
    assert (found["a"].better, found["b"].better) == (1, -1)


def test_a_draw_for_which_it_is_not_defined_is_left_out():
    """None of its samples has the label 0."""
    assert own("fails").resampler(OUTCOME, OUTCOME)(np.array([0, 2])) == {}
    assert own("fails").measure(OUTCOME, OUTCOME) == {"fails": 1}


def test_a_metric_that_is_no_number_is_an_error():
    with pytest.raises(QuantbentoError, match=r"the metric 'says_much': .* must return a finite number, not 'much'"):
        own("says_much").measure(OUTCOME, OUTCOME)


def test_without_answers_metrics_that_take_them_are_left_out():
    assert own("share", "total").measure(OUTCOME, Outcome(OUTCOME.rows)).keys() == {"total"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("strange", "takes 'predictions'; a metric's parameters are any of 'answers', 'labels', 'inputs' or 'rows'"),
        ("nothing", "takes nothing; a metric's parameters are"),
        ("share", "takes labels, which the evaluation samples do not have"),
        ("total", None),
    ],
)
def test_what_cannot_be_called_is_found_before(name, told):
    found = problem(metric(name), TextClassification, SampleSet(["a"]))
    assert (told is None and found is None) or told in found


def test_rows_of_windows_are_not_for_metrics_of_samples():
    assert "take answers" in problem(metric("total"), TextGeneration, SAMPLES)


def test_what_is_no_function_is_an_error():
    with pytest.raises(QuantbentoError, match="is a int, not a function"):
        problem(metric("NOT_A_FUNCTION"), TextClassification, SAMPLES)
