"""The figures of a divergence are those of their definitions, and those of llama.cpp."""

import numpy as np
import pytest

from quantbento.tasks.divergence import divergence_figures

RANDOM = np.random.default_rng(0)


def test_percentiles_and_means():
    kl = np.arange(1001.0).reshape(7, 143)
    same = np.zeros((7, 143), bool)
    same.ravel()[:900] = True
    found = divergence_figures(kl, same, np.zeros((7, 143)), np.zeros((7, 143)))
    ends = {name: found[name] for name in ("mean", "median", "p90", "p95", "p99", "p99_9", "max")}
    expected = {"mean": 500, "median": 500, "p90": 900, "p95": 950, "p99": 990, "p99_9": 999, "max": 1000}
    assert ends == pytest.approx(expected)
    assert found["mean_stderr"] == pytest.approx(kl.std(ddof=1) / 1001**0.5)
    share = 900 / 1001
    assert found["same_top"] == pytest.approx(share)
    assert found["same_top_stderr"] == pytest.approx((share * (1 - share) / 1000) ** 0.5)  # llama.cpp's


def test_the_ratio_of_perplexities_has_the_error_of_paired_differences():
    baseline = -RANDOM.gamma(2, size=(4, 500))
    variant = baseline - 0.1 + 0.01 * RANDOM.normal(size=(4, 500))
    found = divergence_figures(np.zeros((4, 500)), np.ones((4, 500), bool), baseline, variant)
    assert found["perplexity_ratio"] == pytest.approx(np.exp(-variant.mean()) / np.exp(-baseline.mean()))
    # llama.cpp: sqrt(variance of both - 2 covariance), of log(PPL(Q)/PPL(base)), times the ratio.
    n = baseline.size
    covariance = np.cov(baseline.ravel(), variant.ravel()) / n
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found["perplexity_ratio_stderr"] == pytest.approx(found["perplexity_ratio"] * error)


def test_equal_models_are_not_apart():
    values = -RANDOM.gamma(2, size=(2, 8))
    found = divergence_figures(np.zeros((2, 8)), np.ones((2, 8), bool), values, values)
    assert (found["max"], found["same_top"], found["same_top_stderr"], found["perplexity_ratio"]) == (0, 1, 0, 1)


def test_one_position_has_no_error():
    found = divergence_figures(np.ones((1, 1)), np.ones((1, 1), bool), np.zeros((1, 1)), np.zeros((1, 1)))
    assert (found["mean"], found["mean_stderr"], found["perplexity_ratio_stderr"]) == (1, 0, 0)
