"""The contract of a quantizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from quantbento.core.errors import QuantbentoError, did_you_mean
from quantbento.core.progress import Progress, Silent
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.inputs.samples import SampleSet
from quantbento.inputs.source import SourceModel


class QuantizerOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass
class Job:
    """What a quantizer works from. `examples` are a few inputs in canonical form. `workspace` outlives the variant:
    what one made, the next may use. `calibration` are int64 token ids of shape (sequences, tokens)."""

    source: SourceModel
    task: Any  # quantbento.tasks.base.Task; which kind follows from the quantizer's runtimes
    samples: SampleSet
    examples: list[Any]
    workspace: Path
    calibration: np.ndarray | None = None
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class Quantized:
    """What was done. `parameters` are the model's, `quantized_parameters` those now in few bits.
    `weight_ratio` is what these take with their scales over what they took in the source."""

    runtime_config: dict[str, Any]
    counts: dict[str, int]
    quantized_parameters: int
    parameters: int
    left_out: list[str] = field(default_factory=list)
    weight_ratio: float | None = None


class Quantizer(ABC):
    name: ClassVar[str]
    scheme: ClassVar[str]
    runtimes: ClassVar[tuple[str, ...]]  # that can serve what it writes
    requires: ClassVar[tuple[str, ...]]  # packages, checked before any work
    extra: ClassVar[str] = "quantize"  # the extra of this package that installs them
    takes_onnx: ClassVar[bool] = False
    needs_calibration: ClassVar[bool] = False
    Options: ClassVar[type[QuantizerOptions]]

    def scheme_of(self, options: Any) -> str:
        """What the report and the store call the result, as compressed-tensors names its schemes."""
        return self.scheme

    def preflight(self, model: CheckpointFacts, options: Any) -> list[str]:
        """What keeps a checkpoint from being quantized or served, known before its weights are read."""
        return []

    @abstractmethod
    def quantize(self, job: Job, options: Any, folder: Path) -> Quantized:
        """Writes the quantized model into `folder`; the source stays as it was.

        Raises:
            QuantbentoError: nothing was quantized, or the model does not allow it.
        """


def select(names: Iterable[str], include: Sequence[str], exclude: Sequence[str], what: str) -> list[str]:
    """The names that match a pattern of `include` and none of `exclude` (fnmatch, case sensitive).

    Raises:
        QuantbentoError: a pattern matches nothing at all; it would be ignored without a word.
    """
    names = list(names)
    for pattern in [*include, *exclude]:
        if pattern != "*" and not any(fnmatchcase(n, pattern) for n in names):
            hint = did_you_mean(pattern, names) or f" (for example {', '.join(names[:3]) or 'there are none'})"
            raise QuantbentoError(f"the pattern {pattern!r} matches no {what}{hint}")
    return [n for n in names if any(fnmatchcase(n, p) for p in include) and not any(fnmatchcase(n, p) for p in exclude)]
