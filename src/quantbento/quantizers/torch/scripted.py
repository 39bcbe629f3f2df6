"""INT8 weights and, at run time, INT8 activations for the linear layers of a TorchScript module.

Its layers are compiled and cannot be replaced one by one, so the graph is rewritten, by torch's own pass
(`quantize_dynamic_jit`). Other layers stay in full precision.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary

if TYPE_CHECKING:
    import torch


def linears(module: torch.jit.ScriptModule) -> dict[str, Any]:
    """The linear layers by name, as far as the file still knows them: a frozen module has lost them."""
    return {name: m for name, m in module.named_modules() if getattr(m, "original_name", "") == "Linear"}


def quantized(
    module: torch.jit.ScriptModule, chosen: list[str], qconfig: Any
) -> tuple[torch.jit.ScriptModule, int, int]:
    """A copy of the module with the chosen layers in INT8, the number of quantized calls in it, and their parameters.

    Raises:
        QuantbentoError: torch cannot rewrite the graph, or quantized nothing.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = torch.ao.quantization.quantize_dynamic_jit(module, dict.fromkeys(chosen, qconfig))
    except Exception as error:  # the pass stops at graphs that it does not know
        raise QuantbentoError(
            f"torch cannot quantize this TorchScript file: {summary(error)}. Use onnx-dynamic, or name the Python "
            "module with `factory:` and its `weights:`"
        ) from error
    packed = [n.s("name") for n in _nodes(done.inlined_graph) if _packs_weights(n)]
    if not packed:
        raise QuantbentoError(f"torch-dynamic quantized none of the {len(chosen)} layers that were chosen")
    sizes = [torch.ops.quantized.linear_unpack(getattr(done, name))[0].numel() for name in dict.fromkeys(packed)]
    return done, len(packed), sum(sizes)


def _packs_weights(node: Any) -> bool:
    return node.kind() == "prim::GetAttr" and "LinearPackedParams" in str(node.output().type())


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)
