"""What a PyTorch module returns, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError

if TYPE_CHECKING:
    import torch


def named_outputs(result: Any) -> dict[str, torch.Tensor]:
    """A module's result by name: a tensor is `output`; a tuple's members are `output_0`, `output_1`, ..."""
    import torch

    if isinstance(result, torch.Tensor):
        return {"output": result}
    if isinstance(result, Mapping):
        return {str(k): v for k, v in result.items() if isinstance(v, torch.Tensor)}
    if isinstance(result, tuple | list) and all(isinstance(v, torch.Tensor) for v in result):
        return {f"output_{i}": v for i, v in enumerate(result)}
    members = f" of {', '.join(type(v).__name__ for v in result)}" if isinstance(result, tuple | list) else ""
    raise QuantbentoError(
        f"a model must give a tensor, a tuple or a mapping of tensors, not a {type(result).__name__}{members}"
    )
