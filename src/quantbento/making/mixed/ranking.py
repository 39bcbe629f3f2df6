"""What each layer alone costs when it is quantized: the order in which layers get more bits.

Models of arrays: the variant's own quantizer quantizes that layer only, and the model runs in its serving runtime. The
harm is the power of the answers' difference from full precision over their own power.

Checkpoints for vLLM: the layer's weights are rounded to nearest in PyTorch, whatever method the variant uses, because
vLLM would have to start for each layer. The harm is the KL divergence of the next token.

Calibration samples are used where the recipe has some; otherwise the first evaluation samples. Few are enough: it is an
order, and what comes of it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quantbento.inputs.job import Job
from quantbento.making.cache import depends_on
from quantbento.making.resolve import ResolvedVariant
from quantbento.making.sensitivity.engines import CALIBRATION_BATCHES, engine_of
from quantbento.making.sensitivity.quantized import Quantized
from quantbento.tasks.base import Arrays
from quantbento.tasks.rows import flat, holds_floats
from quantbento.tasks.source import SampleSet

SAMPLES = 32
WINDOWS = 8  # of a language model's tokens


@dataclass(frozen=True)
class Ranking:
    """How layers rank.

    Attributes:
        harm: of each layer in the fewest bits, by its name in `Quantizer.layers`.
        measured: the same in more bits, by these bits, where it was measured.
        by: how it was measured, for the report.
    """

    harm: dict[str, float]
    measured: dict[int, dict[str, float]]
    by: str


def rank(
    job: Job, variant: ResolvedVariant, samples: SampleSet, kind: str, layers: list[str], threads: int, device: str
) -> Ranking:
    """The harm that each of the layers does alone.

    Args:
        samples: what the models answer.
        kind: what these samples are called in the recipe.

    Raises:
        QuantbentoError: a layer cannot be quantized alone.
    """
    depends = depends_on(variant) | {"samples": kind}
    if kept := job.cache.restore("ranked", depends):
        return Ranking(kept["harm"], {8: kept["in_8"]} if kept["in_8"] else {}, kept["by"])
    few = SampleSet(samples.inputs if job.task.contract == "tokens" else samples.inputs[:SAMPLES])
    small, engine = _small(job), engine_of(variant)
    settings = [variant]
    if variant.quantizer.raises and len(variant.quantizer.weight_bits(variant.options)) > 1 and engine is Quantized:
        # Activations that are rounded too make noise that does not become less with the weights' bits.
        settings.append(replace(variant, options=variant.quantizer.raising(variant.options, layers)))
    harm: list[dict[str, float]] = []
    with job.progress.stage(f"{variant.name}: what each of {len(layers)} layers costs") as advance:
        for setting in settings:
            model = engine(small, setting, few, threads, device)
            expected, found = model.full_precision(), dict[str, float]()
            for layer in layers:
                found[layer] = _difference(job.task, expected, model.rows([name for name in layers if name != layer]))
                advance(len(harm) * len(layers) + len(found), len(settings) * len(layers))
            harm.append(found)
    first, in_8 = harm[0], harm[1] if len(harm) > 1 else {}
    by = f"{model.measured}; on {kind} samples"
    job.cache.keep("ranked", depends, {"harm": first, "in_8": in_8, "by": by})
    return Ranking(first, {8: in_8} if in_8 else {}, by)


def _small(job: Job) -> Job:
    """The job with little to calibrate on and, for a language model, few windows to score."""
    task = job.task
    if task.contract == "tokens":
        options = task.options.model_copy(update={"windows": min(WINDOWS, task.options.windows)})
        task = type(task)(task.folder, options)
        return replace(job, task=task)
    return replace(job, calibration=job.calibration[:CALIBRATION_BATCHES] if job.calibration else None)


def _difference(task: Any, expected: Arrays, rows: Arrays) -> float:
    if task.contract == "tokens":
        return max(0.0, task.compare(expected, rows, None)["kl_divergence"])
    own, other = _floats(expected), _floats({name: rows[name] for name in expected})
    return float(np.square(own - other).sum() / max(float(np.square(own).sum()), 1e-30))


def _floats(rows: Arrays) -> np.ndarray:
    return np.concatenate([flat(values) for values in rows.values() if holds_floats(values)])
