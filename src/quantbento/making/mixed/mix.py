"""Makes a variant whose layers have different bits:

1. quantize and evaluate the variant as it is; if its goal holds, that is all
2. rank its layers by the harm that each does alone (`ranking.py`)
3. `avg_bits`: raise the most harmful layers within it; limits on metrics: raise as few as possible until they hold
   (`search.py`), quantizing and evaluating in each step

Every step is in the report and on the console. The last one that holds becomes the variant; if none does, the one with
the most bits, which then fails its gates.
"""

from __future__ import annotations

import copy
import math
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.judging.decoding_gates import NAMES as DECODING
from quantbento.judging.references import References
from quantbento.judging.rows import VariantRow
from quantbento.making.mixed.moves import FULL, Layers, Move
from quantbento.making.mixed.ranking import rank
from quantbento.making.mixed.search import fewest
from quantbento.making.plan import Plan
from quantbento.making.resolve import ResolvedVariant
from quantbento.recipe.gates import METRIC_RULES, GateResult
from quantbento.recipe.mixed import Mixed
from quantbento.tasks.source import SampleSet

MOST_STEPS = int(Mixed.model_fields["max_steps"].default)


class Maker(Protocol):
    """What is needed of `quantbento.making.variant.Maker`."""

    @property
    def plan(self) -> Plan: ...
    @property
    def job(self) -> Job: ...
    @property
    def samples(self) -> SampleSet: ...
    @property
    def references(self) -> References: ...
    @property
    def threads(self) -> int: ...

    def prove(self, variant: ResolvedVariant) -> None: ...
    def quantize(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None: ...
    def evaluate(self, row: VariantRow, variant: ResolvedVariant, folder: Path) -> list[GateResult]: ...


def failed_on_a_metric(row: VariantRow) -> bool:
    """Whether more bits might help: only gates on metrics failed."""
    failed = [gate for gate in row.gates if not gate["passed"]]
    others = any(gate["rule"] in ("min_speedup", "max_size_ratio") or gate["metric"] in DECODING for gate in failed)
    return bool(failed) and not others


def mix(maker: Maker, row: VariantRow, variant: ResolvedVariant, folder: Path) -> None:
    """Writes the variant's artifact into `folder`, and fills `row.mixed` and what `Maker` says of quantizing.

    Raises:
        QuantbentoError: not even one step could be made.
    """
    wanted = variant.spec.mixed
    steps = _Steps(maker, row, variant, folder)
    holds = steps.known() if row.gates else steps.attempt([])
    if wanted and wanted.avg_bits is not None:
        if chosen := steps.layers.within(steps.moves(), wanted.avg_bits):
            steps.attempt(chosen)
    elif not holds:
        most = (wanted.max_steps if wanted else MOST_STEPS) - 1
        fewest(steps.moves(), steps.attempt, most)
    steps.finish()


@dataclass
class _Steps:
    maker: Maker
    row: VariantRow
    variant: ResolvedVariant
    folder: Path
    best: tuple[tuple[bool, bool, float], VariantRow, Path] | None = None
    report: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        job, quantizer, options = self.maker.job, self.variant.quantizer, self.variant.options
        self.maker.prove(self.variant)
        full = 16.0 if job.source.dtype in ("bfloat16", "float16") else 32.0
        self.layers = Layers(quantizer.layers(job, options), quantizer.weight_bits(options), full)
        if not self.layers.weights:
            raise QuantbentoError(f"{quantizer.name} cannot tell this model's layers apart, so none can get more bits")
        spec = self.variant.spec
        self.budget = spec.mixed.avg_bits if spec.mixed else None
        goal = {rule: getattr(self.variant.gates, rule) for rule in METRIC_RULES}
        goal = {rule: limits for rule, limits in goal.items() if limits}
        if self.variant.gates.level:
            goal["level"] = self.variant.gates.level
        self.report = {
            "goal": {"avg_bits": self.budget} if self.budget else goal,
            "because": "a gate failed" if self.row.gates else "the recipe asks for it",
            "layers": len(self.layers.weights),
            "ranked_by": None,
            "steps": [],
            "holds": False,
        }

    def moves(self) -> list[Move]:
        maker, variant = self.maker, self.variant
        inputs, kind = maker.plan.resolved.inputs, "calibration"
        if maker.plan.recipe.calibration is None:
            kind = "evaluation"
        samples = maker.samples if kind == "evaluation" else inputs.samples(kind)
        device = maker.references.settings.device
        names = list(self.layers.weights)
        ranking = rank(maker.job, variant, samples, kind, names, maker.threads, device)
        self.report["ranked_by"] = ranking.by
        return self.layers.moves(ranking.harm, ranking.measured)

    def attempt(self, moves: list[Move]) -> bool:
        """Quantizes and evaluates with these moves, and reports it; whether the goal holds."""
        number, start = len(self.report["steps"]), time.perf_counter()
        bits = self.layers.bits(moves)
        kept = [layer for layer, width in bits.items() if width == FULL]
        raised = [m.layer for m in moves if m.bits not in (FULL, min(self.layers.widths)) and m.layer not in kept]
        step: dict[str, Any] = {"kept": kept, "eight_bit": raised, "avg_bits": self.layers.average(moves)}
        row, space = copy.deepcopy(self.row), self.folder.with_name(f"{self.folder.name}-step-{number}")
        row.name, row.gates = f"{self.row.name}: step {number}", []
        space.mkdir()
        quantizer, options = self.variant.quantizer, self.variant.options
        if kept:
            options = quantizer.keeping(options, kept)
        if raised:
            options = quantizer.raising(options, raised)
        try:
            self.maker.quantize(row, replace(self.variant, options=options), space)
            holds = self._evaluate(row, space, step)
        except QuantbentoError as error:
            if not moves:
                raise
            step |= {"metrics": {}, "holds": False, "error": str(error)}
            holds = False
        step["seconds"] = time.perf_counter() - start
        self.report["steps"].append(step)
        self._say(number, step)
        self._keep(step, row, space)
        return holds

    def known(self) -> bool:
        """The first step, where the variant was judged already and failed."""
        space = self.folder.with_name(f"{self.folder.name}-step-0")
        self.folder.rename(space)
        self.folder.mkdir()
        step: dict[str, Any] = {"kept": [], "eight_bit": [], "avg_bits": self.layers.average([])}
        step |= {"avg_bits": self._measured_bits(self.row) or step["avg_bits"], "metrics": self.row.metrics}
        step |= {"holds": False, "seconds": 0.0}
        self.report["steps"].append(step)
        self._say(0, step)
        self._keep(step, copy.deepcopy(self.row), space)
        return False

    def _evaluate(self, row: VariantRow, space: Path, step: dict[str, Any]) -> bool:
        planned = step["avg_bits"]  # at most that many, but for a few bytes per layer in the file
        if (measured := self._measured_bits(row)) is not None:
            step["avg_bits"] = measured
        results = self.maker.evaluate(row, self.variant, space)
        step["metrics"] = row.metrics
        limits = [result for result in results if result.rule not in ("min_speedup", "max_size_ratio")]
        step["holds"] = all(result.passed for result in limits)
        if self.budget is not None:
            step["holds"] = min(planned, step["avg_bits"]) <= self.budget
        return step["holds"]

    def _measured_bits(self, row: VariantRow) -> float | None:
        """Bits per weight in the written file, where it can be counted; else None, and those that were planned hold."""
        ratio = row.quantized.get("weight_ratio")
        if ratio is None:
            return None
        total, done = sum(self.layers.weights.values()), row.quantized["parameters"]
        return (16 * ratio * done + self.layers.full * (total - done)) / total

    def _keep(self, step: dict[str, Any], row: VariantRow, space: Path) -> None:
        """Keeps the better of two steps: one that holds, with the fewest bits; else the one with the most. Within an
        average number of bits, the most are the best."""
        fewer = step["holds"] and self.budget is None
        order = "error" not in step, step["holds"], -step["avg_bits"] if fewer else step["avg_bits"]
        if self.best is None or order >= self.best[0]:
            if self.best:
                shutil.rmtree(self.best[2])
            self.best = order, row, space
        else:
            shutil.rmtree(space)

    def _say(self, number: int, step: dict[str, Any]) -> None:
        more = [f"{len(step['eight_bit'])} in 8 bit"] if step["eight_bit"] else []
        layers = ", ".join([f"{len(step['kept'])} of {len(self.layers.weights)} layers in full precision", *more])
        metrics = ", ".join(f"{name} {value:.5g}" for name, value in step["metrics"].items() if math.isfinite(value))
        told = step.get("error") or f"{step['avg_bits']:.2f} bits per weight, {metrics}"
        verdict = "holds" if step["holds"] else "does not hold"
        self.maker.job.progress.say(f"{self.row.name}: step {number}: {layers}: {told}: {verdict}")

    def finish(self) -> None:
        """Makes the best step the variant."""
        assert self.best is not None
        (_, holds, _), row, space = self.best
        shutil.rmtree(self.folder)
        space.rename(self.folder)
        self.row.quantized, self.row.quantize_seconds = row.quantized, row.quantize_seconds
        self.row.mixed = self.report | {"holds": holds}
        if not holds:
            said = "its goal did not hold in any step; the report lists them"
            self.maker.job.progress.say(f"{self.row.name}: {said}")
