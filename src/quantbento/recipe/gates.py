"""What a variant must keep, and whether it did."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field

from quantbento.recipe.strict import Strict

METRIC_RULES = ("min", "max", "max_drop", "min_recovery")  # the gates that name a metric
Level = Literal["mlperf-99", "mlperf-99.9"]
LEVELS: dict[str, float] = {"mlperf-99": 0.99, "mlperf-99.9": 0.999}  # the least recovery


class Gates(Strict):
    """What a variant must keep. `max_drop` is absolute, `min_recovery` is variant / baseline."""

    min: dict[str, float] = {}
    max: dict[str, float] = {}
    max_drop: dict[str, Annotated[float, Field(ge=0)]] = {}
    min_recovery: dict[str, Annotated[float, Field(gt=0)]] = {}
    min_speedup: float | None = Field(None, gt=0)
    max_size_ratio: float | None = Field(None, gt=0)
    level: Level | None = Field(None, description="recovery of the primary metric, as MLPerf Inference asks for it")
    confident: bool | None = Field(None, description="the worse end of the 95 % interval must pass, not the value")

    def merged(self, other: Gates) -> Gates:
        """These gates with the other's added; the other's limit wins for the same rule and metric."""
        mine, theirs = self.model_dump(exclude_none=True), other.model_dump(exclude_none=True)
        both = {
            rule: {**mine.get(rule, {}), **limit} if isinstance(limit, dict) else limit
            for rule, limit in theirs.items()
        }
        return Gates(**{**mine, **both})


@dataclass(frozen=True)
class GateResult:
    """One gate's outcome, as report.json and manifest.json hold it.

    Attributes:
        value: what is compared with `limit`. None where the metric could not be measured, and the gate then fails.
        interval: the value's 95 % interval, `[low, high]`; None where there is none.
        confident: the worse end of the interval was compared instead of the value.
        adapter: the LoRA adapter with which it is worst; None for the model alone.
    """

    metric: str
    rule: str
    limit: float
    value: float | None
    passed: bool
    interval: list[float] | None = None
    confident: bool = False
    adapter: str | None = None

    @property
    def is_least(self) -> bool:
        """Whether the limit is the least that is allowed, not the most."""
        return not self.rule.startswith("max")

    @property
    def within_noise(self) -> bool:
        """Whether other samples of the same kind, or other rounds, could have turned the result over."""
        return self.interval is not None and self.interval[0] < self.limit < self.interval[1]

    def __str__(self) -> str:
        subject = self.rule if self.rule.endswith(self.metric) else f"{self.rule} {self.metric}"
        subject += f" with the adapter {self.adapter}" if self.adapter else ""
        subject += " passed" if self.passed else " failed"
        if self.value is None:
            return f"{subject}: it was not measured (are the samples labelled?)"
        if self.confident and self.interval is None:
            return f"{subject}: {self.value:.4g} has no interval, which needs two samples, or six rounds of a speedup"
        compared = self.value
        if self.confident and self.interval is not None:
            compared = self.interval[0 if self.is_least else 1]
        more = "to spare" if self.passed else "short" if self.is_least else "too much"
        off = _off(compared, self.limit)
        told = f"{subject}: {_apart(compared, self.limit)} against {self.limit:.12g} ({off} {more})"
        if self.interval is None:
            return told
        ends = f"the 95 % interval of {self.value:.4g} is {self.interval[0]:.4g} to {self.interval[1]:.4g}"
        if self.confident:
            return f"{told}: {ends}"
        return f"{told}: within noise, {ends}" if self.within_noise else told

    def report(self) -> dict[str, Any]:
        told = asdict(self)
        if self.adapter is None:
            del told["adapter"]
        return told


def _apart(value: float, limit: float) -> str:
    """The value with four digits, or with as many more as it takes to see on which side of the limit it is."""
    if value == limit:
        return f"{limit:.12g}"
    for digits in range(4, 17):
        shown = float(told := f"{value:.{digits}g}")
        if shown != limit and (shown < limit) == (value < limit):
            return told
    return repr(value)


def _off(value: float, limit: float) -> str:
    """How far apart they are, as decimals: 0.99 and 0.98 are 0.01 apart, not 0.010000000000000009."""
    if not math.isfinite(value):
        return str(abs(value - limit))
    return f"{float(abs(Fraction(repr(value)) - Fraction(repr(limit)))):.4g}"
