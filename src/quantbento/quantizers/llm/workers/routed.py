"""Counts the calibration tokens that reach each expert of a mixture of experts. For worker scripts: imports PyTorch
only, and only when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def watch() -> Callable[[Any], list[str]]:
    """Counts from now on, in every model of this process. Transformers calls the experts of a layer with the hidden
    states and the numbers of the experts that its router chose for each token, and so do AutoRound's and
    llm-compressor's experts of single layers.

    Returns:
        A function that stops counting and, for the model that ran, names the experts that no token was routed to,
        as `model.layers.3.mlp.experts.7`.
    """
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    tokens: dict[Any, torch.Tensor] = {}

    def count(module: Any, arguments: tuple[Any, ...]) -> None:
        number = getattr(module, "num_experts", None)
        if isinstance(number, int) and len(arguments) > 1 and _are_numbers(arguments[1]):
            here = torch.bincount(arguments[1].flatten().cpu(), minlength=number)
            tokens[module] = tokens[module] + here if module in tokens else here

    handle = register_module_forward_pre_hook(count)

    def unseen(model: Any) -> list[str]:
        handle.remove()
        found = [(name, tokens[module]) for name, module in model.named_modules() if module in tokens]
        return [f"{name}.{expert}" for name, here in found for expert, seen in enumerate(here.tolist()) if not seen]

    return unseen


def _are_numbers(argument: Any) -> bool:
    """Whether it is a tensor of integers."""
    import torch

    return isinstance(argument, torch.Tensor) and not (argument.is_floating_point() or argument.dtype == torch.bool)
