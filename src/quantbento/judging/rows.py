"""The report's data, in the shape of `report.json`."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quantbento.core.errors import QuantbentoError

SCHEMA_VERSION = 1
NOT_JUDGED = 3  # the exit code where no gate failed, and some were not asked


@dataclass
class ReferenceRow:
    """Full precision: the baseline, its bf16 form, or another runtime's. Never stored."""

    name: str
    runtime: str
    size_bytes: int
    size_ratio: float
    metrics: dict[str, float]
    latency_ms: dict[str, float]
    throughput: float
    speedup: dict[str, float]
    peak_memory_bytes: int | None
    load_seconds: float | None = None


@dataclass
class VariantRow:
    """One variant.

    Attributes:
        speedup: over the baseline.
        load_seconds: of loading it in a process of its own.
        speedup_same_runtime: over full precision in the variant's own runtime; None where there is none.
        sample: for a language model, a prompt and the variant's continuation.
        intervals: 95 % paired bootstrap intervals, `[low, high]`, by metric: of its `value`, of its `drop` (how much
            worse than the baseline) and of its `recovery`; of `speedup`, the `value`.
        resamples: how many draws the intervals of metrics are made of.
        groups: metrics by the value of the column that groups samples: `samples`, `metrics` and the `baseline`'s.
        worst: the samples with the largest distance from the baseline, the worst first: `index` and `distance`; where
            the recipe opted in, also `input` and both answers, `baseline` and `variant`.
        robustness: one entry per kind of difficult input: `case`, `samples`, whether `shape`, `finite` and
            `deterministic` held, `distance` to the baseline by metric, and `error`.
        lm_eval: by task of lm-eval, its `metric`, the variant's `value` with `stderr`, the `baseline`'s value, and
            `recovery`; the mean over tasks under `average`.
        kl: of language models, the Kullback-Leibler divergence from the baseline over all positions, in nats: `mean`,
            `median`, `p90`, `p95`, `p99`, `p99_9`, `max`; `same_top`, the share of positions with the same most
            probable token; `perplexity_ratio`; and `mean_stderr`, `same_top_stderr`, `perplexity_ratio_stderr`.
        adapters: of a language model, by LoRA adapter beside it, what was measured with it: `metrics`, those of the
            `baseline` with it, `recovery`, `intervals` and `kl`.
        decoding: of speculative decoding or prefix caching, the variant beside the same model in an engine without: see
            `quantbento.judging.decoding.compared`.
        mixed: how layers fell back to more bits: the `goal`, every step with the `kept` layers, its `metrics` and
            `avg_bits`, and whether it `holds`.
        judged: false where it was only made and checked here (`judge: none`); it has then no figures of judging, and
            did not pass.
        checked: of a variant that was made to be judged elsewhere, what was checked: `files`, `tensors`, quantized
            `layers`, and the `reconstruction` of the source's weights, `relative_error` and `sqnr_db`, with the `worst`
            layers.
        error: why the variant could not be made, if it could not.
    """

    name: str
    quantizer: str
    scheme: str
    options: dict[str, Any]
    runtime: str
    tag: str | None = None
    size_bytes: int | None = None
    size_ratio: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    recovery: dict[str, float] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    throughput: float | None = None
    speedup: dict[str, float] | None = None
    speedup_same_runtime: dict[str, float] | None = None
    peak_memory_bytes: int | None = None
    load_seconds: float | None = None
    quantize_seconds: float | None = None
    quantized: dict[str, Any] = field(default_factory=dict)
    sample: dict[str, Any] | None = None
    intervals: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    resamples: int | None = None
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    worst: list[dict[str, Any]] = field(default_factory=list)
    robustness: list[dict[str, Any]] = field(default_factory=list)
    lm_eval: dict[str, dict[str, Any]] = field(default_factory=dict)
    kl: dict[str, float] = field(default_factory=dict)
    adapters: dict[str, dict[str, Any]] = field(default_factory=dict)
    decoding: dict[str, Any] = field(default_factory=dict)
    mixed: dict[str, Any] | None = None
    gates: list[dict[str, Any]] = field(default_factory=list)
    passed: bool = False
    judged: bool = True
    checked: dict[str, Any] | None = None
    reused: bool = False
    error: str | None = None


@dataclass(repr=False)
class Report:
    """A run's report.

    Attributes:
        primary: metrics for the summary, which shows the first of them that was measured.
        better: by metric, +1 where larger is better and -1 where smaller is.
        provenance: what the run was made from and how to repeat it: `created`, `quantbento` (its version), `recipe`
            (its file, sha256 and content), `source`, `samples` by kind, and `commands`. No sample is in it.
    """

    recipe: str
    task: str
    primary: tuple[str, ...] = ()
    throughput_unit: str = "inputs/s"
    baseline: ReferenceRow | None = None
    references: list[ReferenceRow] = field(default_factory=list)
    variants: list[VariantRow] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    better: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __repr__(self) -> str:
        passed = sum(v.passed for v in self.variants)
        return f"Report({self.recipe}: {passed} of {len(self.variants)} variants passed; {self.path or 'not written'})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table."""
        from quantbento.judging.notebook import table

        return table(self)

    @property
    def exit_code(self) -> int:
        """See `exit_code`."""
        return exit_code([vars(variant) for variant in self.variants])

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "recipe": self.recipe,
            "task": self.task,
            "throughput_unit": self.throughput_unit,
            "primary": list(self.primary),
            "better": self.better,
            "baseline": self.baseline and asdict(self.baseline),
            "references": [asdict(r) for r in self.references],
            "variants": [asdict(v) for v in self.variants],
            "environment": self.environment,
            "provenance": self.provenance,
        }

    def write(self, folder: Path) -> Path:
        """Writes `<folder>/<recipe>/report.json`; a reader never sees half of it.

        Raises:
            QuantbentoError: the folder cannot be written to.
        """
        path = folder / self.recipe / "report.json"
        staged = path.with_suffix(".json.tmp")
        text = json.dumps(_finite(self.as_json()), indent=2) + "\n"
        make_output_folder(path.parent)
        try:
            staged.write_text(text, encoding="utf-8")
            staged.replace(path)
        except OSError as error:
            raise _not_writable(path, error) from error
        self.path = path
        return path


def exit_code(rows: Sequence[Mapping[str, Any]]) -> int:
    """0: all passed; 1: a gate failed; 2: a variant could not be made; 3: none of these, for some were not judged."""
    if any(row.get("error") for row in rows):
        return 2
    if not all(row.get("passed") or is_unjudged(row) for row in rows):
        return 1
    return NOT_JUDGED if any(map(is_unjudged, rows)) else 0


def is_unjudged(row: Mapping[str, Any]) -> bool:
    """Whether a variant's row is of one that was made to be judged elsewhere; rows of older versions do not say."""
    return row.get("judged") is False


def make_output_folder(folder: Path) -> None:
    """Creates the folder. Also called before a run, so that hours of work do not end at a folder that is read-only.

    Raises:
        QuantbentoError: says which folder, and why not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(path: Path, error: OSError) -> QuantbentoError:
    return QuantbentoError(f"{path} could not be written: {error.strerror}; name another folder with --output")


def _finite(value: Any) -> Any:
    """The value with None for NaN and infinity, which are not JSON."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
