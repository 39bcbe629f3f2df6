"""Patterns choose layers, and one that matches nothing is an error."""

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.base import select

NAMES = ["encoder.0.query", "encoder.0.key", "encoder.1.query", "Head"]


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        (["*"], [], NAMES),
        (["encoder.*"], [], NAMES[:3]),
        (["*"], ["*.query"], ["encoder.0.key", "Head"]),
        (["encoder.0.*", "Head"], ["*.key"], ["encoder.0.query", "Head"]),
        (["encoder.?.query"], [], ["encoder.0.query", "encoder.1.query"]),
        (["*"], ["*"], []),
        ([], [], []),
    ],
    ids=["all", "include", "exclude", "both", "one-character", "exclude-wins", "none"],
)
def test_select(include, exclude, chosen):
    assert select(NAMES, include, exclude, "layer") == chosen


@pytest.mark.parametrize(("include", "exclude"), [(["heads"], []), (["*"], ["heads"])], ids=["include", "exclude"])
def test_a_pattern_that_matches_nothing_is_refused(include, exclude):
    with pytest.raises(QuantbentoError, match="the pattern 'heads' matches no layer"):
        select(NAMES, include, exclude, "layer")


def test_patterns_are_case_sensitive_and_near_names_are_told():
    with pytest.raises(QuantbentoError, match=r"'head' matches no layer; did you mean 'Head'\?"):
        select(NAMES, ["head"], [], "layer")


def test_a_pattern_in_a_model_without_layers_says_so():
    assert select([], ["*"], [], "layer") == []
    with pytest.raises(QuantbentoError, match=r"\(for example there are none\)"):
        select([], ["encoder.*"], [], "layer")
