"""What a task is made from: a full-precision model, and samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

    from quantbento.recipe import Evaluation

SourceKind = Literal["module", "onnx", "checkpoint"]


class SourceModel:
    """Either a PyTorch module in fp32 and eval mode, with its folder if it has one, or an ONNX file.

    `dtype` is given where the model stays on disk: `folder` is then a complete checkpoint in that dtype, with any
    adapter merged into it, and `module` is read from it on first use.
    """

    def __init__(
        self,
        module: torch.nn.Module | None = None,
        folder: Path | None = None,
        onnx: Path | None = None,
        trust_remote_code: bool = False,
        dtype: str | None = None,
        read: Callable[[Path], torch.nn.Module] | None = None,
    ) -> None:
        self.folder, self.onnx, self.trust_remote_code, self.dtype = folder, onnx, trust_remote_code, dtype
        self._module, self._read = module, read

    @property
    def kind(self) -> SourceKind:
        return "onnx" if self.onnx else "checkpoint" if self.dtype else "module"

    @property
    def module(self) -> torch.nn.Module | None:
        if self._module is None and self._read is not None and self.folder is not None:
            self._module = self._read(self.folder)
        return self._module

    def keep(self, part: torch.nn.Module) -> None:
        """Replaces the module with the part of it that a task runs: the rest is neither quantized nor stored."""
        self._module = part


@dataclass(frozen=True)
class SampleSet:
    """
    Attributes:
        inputs: texts, arrays, or mappings of arrays by input name.
        labels: indices or names.
        units: what is judged where that is not each input alone.
        groups: the group of each unit, as text, where the recipe names a column for it.
        spec: what the recipe says of them, where they are what variants are judged on.
    """

    inputs: list[Any]
    labels: list[Any] | None = None
    units: Pairs | Judgements | None = None
    groups: list[str] | None = None
    spec: Evaluation | None = None

    def chosen(self, places: Sequence[int]) -> SampleSet:
        """Some of the samples, where each input is a unit."""
        labels = None if self.labels is None else [self.labels[i] for i in places]
        groups = None if self.groups is None else [self.groups[i] for i in places]
        return replace(self, inputs=[self.inputs[i] for i in places], labels=labels, groups=groups)


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts with a score each.

    Attributes:
        left, right: places of the two texts among the inputs, int64 of shape (pairs,).
        scores: how similar they are to people, float64 of shape (pairs,).
    """

    left: np.ndarray
    right: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Judgements:
    """Queries and documents, and which documents are relevant to which query. The inputs are all queries, then all
    documents.

    Attributes:
        queries: how many there are.
        relevance: for each query the relevance, more than zero, of documents by their place after the queries.
        documents: the documents' own ids.
    """

    queries: int
    relevance: list[dict[int, float]]
    documents: list[str]
