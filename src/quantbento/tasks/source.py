"""What a task is made from: a full-precision model, and samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

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
    """`inputs` are texts, arrays, or mappings of arrays by input name; `labels` are indices or names."""

    inputs: list[Any]
    labels: list[Any] | None = None
