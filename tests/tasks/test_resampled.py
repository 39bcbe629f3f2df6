"""Metrics of samples that were drawn, also several times, are those of the samples written out."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from quantbento.tasks.metrics import embedding_metrics, output_metrics, rank_correlation
from quantbento.tasks.resampled import (
    Ranks,
    resampled_embedding_metrics,
    resampled_output_metrics,
    weighted_correlation,
)


def test_a_pair_of_a_sample_with_its_own_copy_does_not_count():
    """It is equally near in both models, and would make them look alike."""
    random = np.random.default_rng(2)
    b = random.normal(size=(12, 5))
    v = b + random.normal(size=b.shape)
    of = resampled_embedding_metrics(b, v)
    assert of(np.arange(12)) == pytest.approx(embedding_metrics(b, v))
    drawn = np.array([0, 0, 1, 2, 3, 3, 3, 7])
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (b, v)]
    pairs = [(i, j) for n, i in enumerate(drawn) for j in drawn[n + 1 :] if i != j]
    b_near, v_near = ([float(x[i] @ x[j]) for i, j in pairs] for x in unit)
    expected = rank_correlation(np.round(b_near, 12), np.round(v_near, 12))
    assert of(drawn)["similarity_spearman"] == pytest.approx(expected)


def test_a_model_beside_itself_is_alike():
    b = np.random.default_rng(4).normal(size=(6, 3))
    found = resampled_embedding_metrics(b, b)(np.array([0, 0, 3, 5]))
    assert found == pytest.approx({"mean_cosine": 1, "min_cosine": 1, "similarity_spearman": 1})


def test_weighted_ranks_are_those_of_the_values_written_out():
    a, b = np.array([3.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.0, 5.0, 2.0])
    counts = np.array([2.0, 1.0, 3.0, 0.0])
    whole = [np.repeat(x, counts.astype(int)) for x in (a, b)]
    ours = weighted_correlation(*(Ranks(x).of(counts) for x in (a, b)), counts)
    assert ours == pytest.approx(spearmanr(*whole).statistic)
    assert weighted_correlation(np.ones(4), np.ones(4), counts) == 1
    assert weighted_correlation(np.ones(4), b, counts) == 0


@pytest.mark.parametrize("drawn", [[0, 1, 2, 3], [3, 3, 0], [2]], ids=str)
def test_outputs_that_were_drawn_are_compared_as_if_they_were_written_out(drawn):
    random = np.random.default_rng(5)
    ragged = np.empty(4, dtype=object)
    ragged[:] = [random.normal(size=(n, 2)).astype(np.float32) for n in (1, 3, 2, 4)]
    baseline = {"scores": random.normal(size=(4, 5, 3)), "boxes": ragged, "labels": random.integers(0, 3, size=(4, 6))}
    moved = np.empty(4, dtype=object)
    moved[:] = [row + 0.1 for row in ragged]
    variant = {
        "scores": baseline["scores"] + random.normal(scale=0.1, size=(4, 5, 3)),
        "boxes": moved,
        "labels": random.integers(0, 3, size=(4, 6)),
    }
    written = [{name: rows[name][drawn] for name in rows} for rows in (baseline, variant)]
    assert resampled_output_metrics(baseline, variant)(np.array(drawn)) == pytest.approx(output_metrics(*written))
