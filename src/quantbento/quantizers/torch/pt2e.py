"""INT8 in an exported graph, by torchao's PT2E: what `torch-export` does between its two exports.

A layer is the node of its operator. It is named by the innermost module that the node was part of.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from quantbento.core.errors import QuantbentoError, summary
from quantbento.quantizers.base import Quantized
from quantbento.quantizers.torch import fx

if TYPE_CHECKING:
    import torch

WRAPPED = "wrapped"  # what the names of layers start with in the graph of a wrapped module
KINDS = {"aten.linear.default": "Linear", "aten.conv2d.default": "Conv2d"}
ELSE = "onnx-static or torch-dynamic"


def candidates(graph: Any, dynamic: bool) -> list[str]:
    """Names of the layers that can be quantized."""
    return list(dict.fromkeys(_name(node) for node in _layers(graph) if _can_be(node, dynamic)))


def weight_counts(graph: Any) -> dict[str, int]:
    """How many weights the layers of each name have."""
    tensors = {_name(node): dict[str, int]() for node in _layers(graph)}
    for node in _layers(graph):
        tensors[_name(node)][node.args[1].name] = node.args[1].meta["val"].numel()
    return {name: sum(found.values()) for name, found in tensors.items()}


def quantize(
    module: Any, chosen: Sequence[str], batches: Sequence[dict[str, torch.Tensor]], dynamic: bool, reduce_range: bool
) -> None:
    """Replaces an exported module's graph with one in INT8.

    Args:
        module: what `exported_module` gives.
        chosen: names of the layers to quantize.
        batches: measured, to fix the ranges of activations; only run where these are `dynamic`.
        reduce_range: 7-bit activations.

    Raises:
        QuantbentoError: it cannot be.
    """
    import torch
    from torchao.quantization.pt2e import quantize_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    config = x86.get_default_x86_inductor_quantization_config(is_dynamic=dynamic, reduce_range=reduce_range)
    quantizer = x86.X86InductorQuantizer()
    calls = Counter(_name(node) for node in _layers(module.model))
    for node in _layers(module.model):
        chose = _can_be(node, dynamic) and _name(node) in chosen
        if chose and (calls[_name(node)] > 1 or not _is_plain(node)):
            # Called twice, or as a function, or of a class of the user's: torchao looks for what strict export notes.
            node.meta["source_fn_stack"] = [(node.name, getattr(torch.nn.functional, _kind(node).lower()))]
        elif not chose and _is_plain(node):
            quantizer.set_module_name_qconfig(_module(node)[0], None)
    if dynamic:
        quantizer.set_module_type_qconfig(torch.nn.Linear, config)
    else:
        # Products of two activations are no layers.
        quantizer.set_function_type_qconfig(torch.mul, None).set_global(config)
    try:
        module.model = quantize_pt2e.prepare_pt2e(module.model, quantizer)
        fx.observe(module, batches)
        module.model = quantize_pt2e.convert_pt2e(module.model)
    except Exception as error:  # a graph that it was not made for, or a batch that the graph does not take
        raise QuantbentoError(
            f"torch-export cannot quantize the exported model: {summary(error)}. Use {ELSE}"
        ) from error
    _drop_unused(module.model)


def count(graph: Any, chosen: Sequence[str], parameters: int) -> Quantized:
    """Counts by looking at the graph: a layer is INT8 where its input and its weights were.

    Args:
        parameters: how many the model has.

    Raises:
        QuantbentoError: there is none.
    """
    done, left = {}, []
    for node in _layers(graph):
        if all(str(value.target).startswith("quantized_decomposed.dequantize") for value in node.args[:2]):
            done[node.args[1].args[0].target] = _kind(node)  # by its weights: it may be called twice
        elif _name(node) in chosen:
            left.append(_name(node))
    if not done:
        raise QuantbentoError(f"torch-export quantized none of the {len(chosen)} layers that were chosen. Use {ELSE}")
    weights = sum(getattr(graph, stored).numel() for stored in done)
    return Quantized({}, dict(Counter(done.values())), weights, parameters, left_out=left)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences torchao on import. It also changes how this process compiles, and a server would then compile other
    code than what was judged: this undoes it."""
    from torch._inductor import config

    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), config.patch(pre_grad_custom_pass=config.pre_grad_custom_pass):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _drop_unused(graph: Any) -> None:
    """Removes the float weights, which the graph no longer reads."""
    used = tuple(node.target for node in graph.graph.nodes if node.op == "get_attr")
    for name, _ in list(graph.named_parameters()):
        if name not in used and not name.startswith(tuple(f"{target}." for target in used)):
            owner, _, leaf = name.rpartition(".")
            delattr(graph.get_submodule(owner), leaf)


def _layers(graph: Any) -> list[Any]:
    """The nodes that are linear layers and convolutions."""
    return [node for node in graph.graph.nodes if str(node.target) in KINDS]


def _kind(node: Any) -> str:
    return KINDS[str(node.target)]


def _can_be(node: Any, dynamic: bool) -> bool:
    """Whether its weights are the model's own, and there is a kernel: torchao has none for convolutions with ranges
    measured at run time, and Inductor fails to compile one of images with one channel (torch 2.13)."""
    has_kernel = _kind(node) == "Linear" or (not dynamic and node.args[0].meta["val"].shape[1] > 1)
    return node.args[1].op == "get_attr" and has_kernel


def _is_plain(node: Any) -> bool:
    """Whether it is a layer of PyTorch's own class."""
    return str(_module(node)[1]).rpartition(".")[2] == _kind(node)


def _module(node: Any) -> tuple[str, Any]:
    """The name and the class of the innermost module that the node is part of, in the exported graph."""
    return next(reversed((node.meta.get("nn_module_stack") or {"": ("", "")}).values()))


def _name(node: Any) -> str:
    """The name in the source; that of the node where the source is one layer, or a function called outside of any."""
    return _module(node)[0].removeprefix(WRAPPED).removeprefix(".") or node.name
