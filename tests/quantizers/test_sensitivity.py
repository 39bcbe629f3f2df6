"""As many nodes are quantized as the outputs allow, the least harmful first."""

import math

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.quantizers.sensitivity import harmful

NOISE = {"a": 4, "b": 1, "c": 16, "d": 2, "e": 3}


def quality(nodes):
    return -sum(NOISE[node] for node in nodes)


@pytest.mark.parametrize(
    ("least", "left"),
    [(-26, []), (-25, ["c"]), (-10, ["c"]), (-9, ["a", "c"]), (-3, ["a", "c", "e"]), (-1, ["a", "c", "d", "e"])],
)
def test_the_most_harmful_stay(least, left):
    assert sorted(harmful(quality, list(NOISE), least, lambda done, total: None)) == left


def test_nothing_is_tried_where_all_can_be_quantized():
    asked = []
    assert harmful(lambda nodes: asked.append(nodes) or 1.0, ["a", "b"], 0.5, lambda done, total: None) == []
    assert asked == [["a", "b"]]


def test_progress_is_told():
    told = []
    harmful(quality, list(NOISE), -3, lambda done, total: told.append((done, total)))
    assert told == [(n, 5) for n in range(1, 6)]


def test_what_cannot_be_reached_is_an_error():
    with pytest.raises(
        QuantbentoError, match=r"min_sqnr_db 0 cannot be reached: with b alone quantized, there are -1\.0 dB"
    ):
        harmful(quality, list(NOISE), 0, lambda done, total: None)


def test_those_that_are_worth_more_may_do_more_harm():
    harm = {"slow": 2.0, "quick": 1.0}

    def quality(nodes):
        return -10 * math.log10(sum(harm[node] for node in nodes))

    def left(gains):
        return harmful(quality, list(harm), -10 * math.log10(2.5), lambda done, total: None, gains)

    assert left(None) == left({"slow": 1.0, "quick": 1.0}) == ["slow"]
    assert left({"slow": 10.0, "quick": 1.0}) == ["quick"]
