"""What a variant must keep, and whether it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from quantbento.recipe.strict import Strict

METRIC_RULES = ("min", "max", "max_drop", "min_recovery")  # the gates that name a metric


class Gates(Strict):
    """What a variant must keep. `max_drop` is absolute, `min_recovery` is variant / baseline."""

    min: dict[str, float] = {}
    max: dict[str, float] = {}
    max_drop: dict[str, Annotated[float, Field(ge=0)]] = {}
    min_recovery: dict[str, Annotated[float, Field(gt=0)]] = {}
    min_speedup: float | None = Field(None, gt=0)
    max_size_ratio: float | None = Field(None, gt=0)

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
    """One gate's outcome, as report.json and manifest.json hold it. `value` is compared with `limit`; it is None where
    the metric could not be measured, and the gate then fails."""

    metric: str
    rule: str
    limit: float
    value: float | None
    passed: bool

    def __str__(self) -> str:
        verb = "passed" if self.passed else "failed"
        if self.value is None:
            return f"{self.rule} {self.metric} {verb}: it was not measured (are the samples labelled?)"
        off = abs(self.value - self.limit)
        more = "to spare" if self.passed else "short" if self.rule.startswith("min") else "too much"
        subject = self.rule if self.rule.endswith(self.metric) else f"{self.rule} {self.metric}"
        return f"{subject} {verb}: {self.value:.4g} against {self.limit:g} ({off:.4g} {more})"

    def report(self) -> dict[str, Any]:
        return asdict(self)
