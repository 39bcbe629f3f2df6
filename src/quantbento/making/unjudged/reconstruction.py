"""How far the weights of a quantized layer are from the source's: relative error and signal-to-noise ratio.

    relative error = |W' - W| / |W|      (Frobenius norms)
    SQNR in dB     = -20 log10(relative error)

Each further bit of a uniform quantizer gains 6 dB (Widrow and Kollár, Quantization Noise, 2008). Normally distributed
weights, rounded with one scale per 128 of them, have about 20 dB in 4 bit and 43 dB in 8. The bounds leave room for
long tails and for methods that trade weight error for output error, and still find a layer with wrong scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LEAST_DB = {4: 6.0, 8: 20.0}  # by bits of a weight; what lies between has that of 4
LEAST_DB_KEPT = 40.0  # of tensors that stay floats: a change of dtype gives 50 dB and more
ROWS = 1024  # of a large tensor that are in float32 at once
STEPS = 3  # of fitting scales; a fit of rank one is stable after two
WORST = 5  # layers that a report names


@dataclass(frozen=True)
class LayerError:
    """The error of one layer's weights."""

    layer: str
    relative_error: float
    bits: int

    @property
    def sqnr_db(self) -> float:
        return -20 * math.log10(self.relative_error) if self.relative_error else math.inf

    @property
    def least_db(self) -> float:
        return LEAST_DB[8] if self.bits >= 8 else LEAST_DB[4]

    @property
    def problem(self) -> str | None:
        """Why this layer cannot be right; None where nothing speaks against it."""
        if self.sqnr_db >= self.least_db:  # false for NaN, too
            return None
        return (
            f"{self.layer}: its weights are {self.relative_error:.2g} of the source's away from them (SQNR "
            f"{self.sqnr_db:.1f} dB; {self.bits} bit have at least {self.least_db:.0f} dB)"
        )


@dataclass
class Reconstruction:
    """The errors of all layers.

    Attributes:
        up_to_scales: a scale per row and column was fitted first, because the method moves scales between layers.
    """

    layers: list[LayerError] = field(default_factory=list)
    up_to_scales: bool = False

    @property
    def problems(self) -> list[str]:
        return [told for layer in self.layers if (told := layer.problem)]

    def report(self) -> dict[str, Any] | None:
        """For report.json; None where no layer was compared."""
        if not self.layers:
            return None
        worst = sorted(self.layers, key=lambda layer: layer.sqnr_db)
        return {
            "layers": len(self.layers),
            "up_to_scales": self.up_to_scales,
            "sqnr_db": {"min": worst[0].sqnr_db, "median": median(layer.sqnr_db for layer in worst)},
            "relative_error": {
                "max": worst[0].relative_error,
                "median": median(layer.relative_error for layer in worst),
            },
            "worst": [
                {"layer": layer.layer, "sqnr_db": layer.sqnr_db, "relative_error": layer.relative_error}
                for layer in worst[:WORST]
            ],
        }


def relative_error(source: torch.Tensor, made: torch.Tensor) -> float:
    """|made - source| / |source| of two tensors of one shape, in float32, rows at a time; 0 for equal zeros."""
    squared = difference = 0.0
    for exact, own in zip(source.split(ROWS), made.split(ROWS), strict=True):
        exact32 = exact.float()
        squared += float(exact32.square().sum(dtype=_double()))
        difference += float((own.float() - exact32).square().sum(dtype=_double()))
    return math.sqrt(difference / squared) if squared else (math.inf if difference else 0.0)


def relative_error_up_to_scales(source: torch.Tensor, made: torch.Tensor) -> float:
    """As `relative_error` of `made` and diag(r) source diag(c), with the r and c for which it is least.

    AWQ and SmoothQuant multiply the columns of a layer, and divide the norm or the rows of the layer before it, which
    leaves the model's function as it is. Least squares, alternately for columns and rows.

    Args:
        source, made: matrices of one shape (outputs, inputs).
    """
    import torch

    exact, own = source.float(), made.float()
    product, square = own * exact, exact.square()
    rows = torch.ones(exact.shape[0])
    for _ in range(STEPS):
        columns = _ratio(rows @ product, rows.square() @ square)
        rows = _ratio(product @ columns, square @ columns.square())
    return relative_error(rows[:, None] * exact * columns, own)


def _ratio(over: torch.Tensor, under: torch.Tensor) -> torch.Tensor:
    """1 where the source is zero."""
    import torch

    return torch.where(under > 0, over / under.clamp(min=torch.finfo(under.dtype).tiny), torch.ones_like(over))


def _double() -> torch.dtype:
    import torch

    return torch.float64
