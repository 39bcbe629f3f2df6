"""Traces the code of a PyTorch module. A failure is one sentence: which line of the model, and what to do."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.quantizers.base import select
from quantbento.quantizers.torch.fx_options import FxOptions
from quantbento.tasks.tensor.module import forward_names

if TYPE_CHECKING:
    import torch

ELSE = "onnx-static, which traces nothing, or torch-dynamic"


def trace(name: str, module: torch.nn.Module, options: FxOptions) -> None:
    """
    Args:
        name: the quantizer's, for messages.

    Raises:
        QuantbentoError: the model's code does what cannot be traced. Says in which line, and what to do.
    """
    from torch.ao.quantization.fx.tracer import QuantizationTracer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            QuantizationTracer(untraced(module, options), []).trace(module)
    except Exception as error:  # the model's own code runs on placeholders, and can raise anything
        raise QuantbentoError(
            f"{name} cannot trace the model: {_place(error)}{summary(error)}. Keep that part in full precision with "
            f"`untraced: [its submodule's name]`, or use {ELSE}"
        ) from error


def untraced(module: Any, options: FxOptions) -> list[str]:
    """Names of the modules that the options keep from being traced."""
    names = [n for n, _ in module.named_modules() if n]
    return select(names, options.untraced, [], "module") if options.untraced else []


def taking(module: Any, names: Sequence[str]) -> Any:
    """The module with a `forward` of these parameters only. Others, which have a default, would be traced as if they
    were given. Changes the module, not its class."""
    if list(names) != forward_names(module):
        kind = type(module)
        given = ", ".join(f"{n}={n}" for n in names)
        forward = eval(f"lambda self, {', '.join(names)}: kind.forward(self, {given})", {"kind": kind})
        module.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    return module


def _place(error: BaseException) -> str:
    """The line of the model that failed: the innermost one that is neither torch's nor this project's."""
    import torch

    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*ours, "<"))]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}, `{frames[-1].line}`: " if frames else ""
