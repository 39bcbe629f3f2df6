"""How far a language model's distributions of the next token are from another's: the figures that llama.cpp's
`llama-perplexity --kl-divergence` prints (https://github.com/ggml-org/llama.cpp/blob/master/tools/perplexity)."""

from __future__ import annotations

import numpy as np

PERCENTILES = {"p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}


def divergence_figures(
    divergence: np.ndarray, same_top: np.ndarray, baseline_logprobs: np.ndarray, variant_logprobs: np.ndarray
) -> dict[str, float]:
    """The figures over all positions.

    Standard errors take positions as independent, as llama.cpp's do. A share's is `sqrt(p (1 - p) / (n - 1))`; that of
    the ratio of perplexities is by the differences of both models' log-probabilities, position by position.

    Args:
        divergence: Kullback-Leibler divergence D(baseline || variant) of each position, in nats.
        same_top: bool, whether both have the same most probable token there.
        baseline_logprobs, variant_logprobs: natural log-probabilities of the token that follows.

    Returns:
        `mean` and `mean_stderr`, `median`, `p90`, `p95`, `p99`, `p99_9` and `max` of the divergence; `same_top` and
        `same_top_stderr`, a share; `perplexity_ratio` and `perplexity_ratio_stderr`, variant / baseline.
    """
    kl = divergence.astype(np.float64).ravel()
    share = float(same_top.mean())
    difference = (baseline_logprobs.astype(np.float64) - variant_logprobs.astype(np.float64)).ravel()
    ratio, more = float(np.exp(difference.mean())), max(1, len(kl) - 1)
    return {
        "mean": float(kl.mean()),
        "mean_stderr": _stderr(kl),
        "median": float(np.median(kl)),
        **{name: float(np.percentile(kl, percent)) for name, percent in PERCENTILES.items()},
        "max": float(kl.max()),
        "same_top": share,
        "same_top_stderr": float(np.sqrt(share * (1 - share) / more)),
        "perplexity_ratio": ratio,
        "perplexity_ratio_stderr": ratio * _stderr(difference),
    }


def _stderr(values: np.ndarray) -> float:
    """Of the mean; 0 of a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
