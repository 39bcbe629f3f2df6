"""A variant against the baseline: the same samples, each through its own serving runtime."""

from __future__ import annotations

import math

from quantbento.errors import QuantbentoError, summary
from quantbento.predictor import Predictor
from quantbento.samples import SampleSet
from quantbento.tasks.base import Arrays


def baseline_rows(baseline: Predictor, samples: SampleSet) -> Arrays:
    """The baseline's rows, which every variant is compared with; checked to be finite."""
    return _rows(baseline, samples, "the full-precision model")


def evaluate(variant: Predictor, rows: Arrays, samples: SampleSet) -> dict[str, float]:
    """The task's metrics of a variant, given the baseline's rows.

    Raises:
        QuantbentoError: the variant does not run, or answers with NaN, infinity, or another shape.
    """
    own = _rows(variant, samples, "the variant")
    for name, expected in rows.items():
        if name not in own or own[name].shape != expected.shape:
            got = own[name].shape if name in own else sorted(own)
            raise QuantbentoError(f"the variant's output {name!r} is {got}; the baseline's is {expected.shape}")
    return variant.task.compare(rows, own, samples.labels)


def recovery(metrics: dict[str, float], baseline: dict[str, float], better: dict[str, int]) -> dict[str, float]:
    """Variant / baseline for each metric where larger is better and the baseline is above zero."""
    return {
        name: value / baseline[name]
        for name, value in metrics.items()
        if better[name] > 0 and baseline.get(name, 0) > 0 and math.isfinite(value)
    }


def _rows(predictor: Predictor, samples: SampleSet, who: str) -> Arrays:
    try:
        rows = predictor.rows(samples.inputs)
    except QuantbentoError:
        raise
    except Exception as error:  # an engine's own: a layer that cannot run quantized, a graph with a fixed batch
        raise QuantbentoError(f"{who} does not run on the samples: {summary(error)}") from error
    _finite(rows, who)
    return rows


def _finite(rows: Arrays, who: str) -> None:
    import numpy as np

    for name, values in rows.items():
        bad = np.asarray(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if bad.any():
            raise QuantbentoError(
                f"{who} gives NaN or infinity in {name!r} for {int(bad.sum())} of {len(bad)} samples, "
                f"the first of them number {int(bad.argmax())}"
            )
