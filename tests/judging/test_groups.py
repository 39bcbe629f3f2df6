"""Each group has its own metrics, and those that lose most are named."""

import numpy as np

from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.groups import by_group, told
from tests.judging.test_noise import Shares


def outcome(right) -> Outcome:
    return Outcome({"right": np.asarray(right, np.float64)})


GROUPS = by_group([Shares()], ["de", "fr", "de", "fr", "en"], outcome([1, 1, 1, 1, 0]), outcome([1, 0, 1, 1, 0]))


def test_groups_are_measured_apart():
    assert list(GROUPS) == ["de", "fr", "en"]
    assert GROUPS["fr"] == {
        "samples": 2,
        "metrics": {"accuracy": 0.5, "largest": 1},
        "baseline": {"accuracy": 1, "largest": 1},
    }
    assert by_group([Shares()], None, outcome([1, 0]), outcome([1, 0])) == {}


def test_the_worst_are_named():
    assert told(GROUPS, "accuracy", +1) == "worst groups by accuracy: 'fr' 0.5 (1 of the baseline, 2 samples)"
    assert told(GROUPS, "accuracy", -1) is None
    assert told(GROUPS, "other", +1) is None
