"""Messages name the value, what is allowed and what was probably meant."""

from __future__ import annotations

import pytest

from quantbento.core.errors import InvalidInput, QuantbentoError, RecipeError, StoreError, did_you_mean, one_of, summary


@pytest.mark.parametrize(
    ("problems", "first"),
    [(["a is wrong"], "1 problem in r.yaml:"), (["a is wrong", "b too"], "2 problems in r.yaml:")],
    ids=["one", "two"],
)
def test_a_recipe_error_counts_and_lists_its_problems(problems, first):
    error = RecipeError(iter(problems), "r.yaml")
    assert str(error).splitlines() == [first, *(f"  - {p}" for p in problems)]
    assert error.problems == problems


@pytest.mark.parametrize("kind", [RecipeError, StoreError, InvalidInput])
def test_every_error_of_a_user_is_a_quantbento_error(kind):
    assert issubclass(kind, QuantbentoError)


def test_an_invalid_input_says_where_it_stood_in_its_list():
    assert str(InvalidInput("must be a string")) == "must be a string"
    error = InvalidInput("must be a string", 3)
    assert (str(error), error.message, error.index) == ("item 3: must be a string", "must be a string", 3)
    assert isinstance(error, ValueError)


def test_did_you_mean_names_the_nearest_or_keeps_silent():
    assert did_you_mean("torch-dynamc", ["onnx-dynamic", "torch-dynamic"]) == "; did you mean 'torch-dynamic'?"
    assert did_you_mean("zzz", ["onnx-dynamic"]) == ""
    assert did_you_mean("x", iter([])) == ""


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "nothing"), (["a"], "'a'"), (["a", "b"], "'a' or 'b'"), (iter("abc"), "'a', 'b' or 'c'")],
    ids=["none", "one", "two", "iterator"],
)
def test_one_of_reads_as_a_sentence(values, text):
    assert one_of(values) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("\nno route.\nat line 3"), "OSError: no route"),
        (AssertionError(), "AssertionError"),
    ],
    ids=["first-line", "says-nothing"],
)
def test_summary_is_one_line_even_of_an_error_that_says_nothing(error, text):
    assert summary(error) == text
