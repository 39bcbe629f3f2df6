"""The contract of a quantizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from quantbento.errors import QuantbentoError, did_you_mean
from quantbento.samples import SampleSet
from quantbento.source import SourceModel
from quantbento.tasks.base import Task


class QuantizerOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass
class Job:
    """What a quantizer works from. `examples` are a few inputs in canonical form. `workspace` outlives the variant:
    what one made, the next may use."""

    source: SourceModel
    task: Task
    samples: SampleSet
    examples: list[Any]
    workspace: Path


@dataclass(frozen=True)
class Quantized:
    """What was done. `parameters` are the model's, `quantized_parameters` those now in few bits."""

    runtime_config: dict[str, Any]
    counts: dict[str, int]
    quantized_parameters: int
    parameters: int
    left_out: list[str] = field(default_factory=list)


class Quantizer(ABC):
    name: ClassVar[str]
    scheme: ClassVar[str]
    runtime: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]  # packages, checked before any work
    takes_onnx: ClassVar[bool] = False
    Options: ClassVar[type[QuantizerOptions]]

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
