"""Logits to probabilities, as float32."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    logits = logits.astype(np.float32, copy=False)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of each logit by itself."""
    return np.exp(-np.logaddexp(np.float32(0), -logits.astype(np.float32, copy=False)))
