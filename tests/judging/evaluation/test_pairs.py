"""Correlations are SciPy's, of the pairs that were drawn."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from quantbento.judging.evaluation.base import Outcome
from quantbento.judging.evaluation.pairs import Pairs
from quantbento.tasks.source import Pairs as Places
from quantbento.tasks.source import SampleSet


@pytest.fixture
def pairs():
    random = np.random.default_rng(0)
    places = Places(random.integers(0, 9, 40), random.integers(0, 9, 40), random.random(40).round(1))
    return Pairs(SampleSet([f"text {i}" for i in range(9)], units=places), places)


def embedded(seed: int) -> Outcome:
    return Outcome({"embedding": np.random.default_rng(seed).normal(size=(9, 4)).astype(np.float32)})


def test_correlations_are_those_of_scipy(pairs):
    rows = embedded(1).rows["embedding"].astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similar = (unit[pairs.places.left] * unit[pairs.places.right]).sum(1)
    found = pairs.measure(embedded(2), embedded(1))
    assert found["pearson_cosine"] == pytest.approx(pearsonr(similar, pairs.places.scores).statistic)
    assert found["spearman_cosine"] == pytest.approx(spearmanr(similar, pairs.places.scores).statistic)
    drawn = np.array([3, 3, 8, 20, 11, 39])
    found = pairs.resampler(embedded(2), embedded(1))(drawn)
    assert found["pearson_cosine"] == pytest.approx(pearsonr(similar[drawn], pairs.places.scores[drawn]).statistic)


def test_a_pair_is_shown_with_its_similarities(pairs):
    distances = pairs.distances(embedded(2), embedded(1))
    place = int(distances.argmax())
    item, answer = pairs.shown(place, embedded(1))
    assert item["sentence1"] == f"text {pairs.places.left[place]}"
    assert distances[place] == pytest.approx(abs(answer - pairs.shown(place, embedded(2))[1]))
