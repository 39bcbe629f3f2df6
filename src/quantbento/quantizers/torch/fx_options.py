"""Options of quantizers that trace a model's graph."""

from __future__ import annotations

import platform
from typing import Literal

from pydantic import Field

from quantbento.core.errors import QuantbentoError, one_of
from quantbento.quantizers.base import QuantizerOptions


class FxOptions(QuantizerOptions):
    include: list[str] = Field(["*"], description="fnmatch patterns of layers' names")
    exclude: list[str] = Field([], description="fnmatch patterns of layers kept in full precision")
    untraced: list[str] = Field(
        [], description="fnmatch patterns of modules whose code cannot be traced; they stay in full precision"
    )
    backend: Literal["x86", "onednn", "qnnpack"] | None = Field(
        None, description="the kernels that serve it; by default each machine's own, which here is x86 or qnnpack (ARM)"
    )
    per_channel: bool = Field(True, description="one scale per output channel of the weights")
    weight_bits: int = Field(8, ge=2, le=8, description="fewer bits round weights more coarsely; stored as INT8")
    form: Literal["pickle", "torchscript"] = Field(
        "pickle", description="torchscript: compiled, which is faster for small models and batches"
    )
    reduce_range: bool = Field(False, description="7-bit activations, for x86 CPUs without VNNI, which saturate")

    @property
    def engine(self) -> str:
        return self.backend or ("qnnpack" if platform.machine().lower() in ("arm64", "aarch64") else "x86")

    @property
    def activation_range(self) -> dict[str, int]:
        return {"quant_min": 0, "quant_max": 127 if self.reduce_range else 255}

    @property
    def weight_range(self) -> dict[str, int]:
        """As many steps below zero as above."""
        most = 2 ** (self.weight_bits - 1) - 1
        return {"quant_min": -most, "quant_max": most}


def engine_of(options: FxOptions) -> str:
    """The kernels that the weights are packed for.

    Raises:
        QuantbentoError: this machine's torch has no such kernels.
    """
    import torch

    there = torch.backends.quantized.supported_engines
    if options.engine not in there:
        raise QuantbentoError(
            f"backend: {options.engine} cannot run on this machine, whose torch has {one_of(sorted(there))}; leave "
            "backend out, and each machine takes its own"
        )
    return options.engine
