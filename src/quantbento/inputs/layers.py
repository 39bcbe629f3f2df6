"""The linear layers of a language model, by the names that its checkpoint has for them.

Transformers 5 has other names for some: it holds the experts of a layer as one three-dimensional parameter where the
checkpoint has a matrix for each (`...experts.7.w1.weight`), and the parts of vision-language models have moved. Its own
`revert_weight_conversion`, which it saves checkpoints with, gives the names back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

EXPERT = re.compile(r"(?P<block>.+\.experts)\.(?P<number>\d+)\.(?P<own>[^.]+)")
# How checkpoints of Mixtral and its like call what AutoRound, llm-compressor and vLLM call otherwise.
PROJECTIONS = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
ROUTER = re.compile(r"(?:^|[._])(?:gate|router)(?:$|\.)")
HALVES = {"gate_up_proj": ("gate_proj", "up_proj")}


@dataclass
class Layers:
    """Attributes:
    linears: (outputs, inputs) of each layer, experts one by one.
    modules: what a layer is called in Transformers, once its experts are apart; only where that is another name.
    routers: what chooses the experts of a token; not among `linears`.
    vision: those of `linears` that are not the language model's: towers for images or sound, and their projectors.
    head: the layer that gives the logits, or None.
    """

    linears: dict[str, tuple[int, int]] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    routers: list[str] = field(default_factory=list)
    vision: list[str] = field(default_factory=list)
    head: str | None = None


def of(model: Any) -> Layers:
    """The layers of a model of Transformers; its tensors may be on `meta`."""
    import torch

    found = Layers()
    named = dict(model.named_modules())
    routers = _routers(named)
    linears = {n: m for n, m in named.items() if isinstance(m, torch.nn.Linear) and n not in routers}
    names = _saved_names(model, {f"{n}.weight": named[n].weight for n in [*linears, *routers]})
    for module, layer in linears.items():
        _add(found, names[f"{module}.weight"], module, (layer.out_features, layer.in_features))
    for module, experts in named.items():
        if module.endswith(".experts"):
            for name, parameter in experts.named_parameters(recurse=False):
                if parameter.ndim == 3:
                    _add_experts(found, model, f"{module}.{name}", parameter, getattr(experts, "is_transposed", False))
    for module in routers:
        saved = names[f"{module}.weight"].removesuffix(".weight")
        found.routers.append(saved)
        found.modules |= {saved: module} if saved != module else {}
    head = model.get_output_embeddings()
    found.head = next((names[f"{n}.weight"].removesuffix(".weight") for n, m in linears.items() if m is head), None)
    text = model.get_decoder()
    inside = next((n for n, m in named.items() if m is text), "")
    by_layer = {layer: found.modules.get(layer, layer) for layer in found.linears}
    if inside not in ("", "model"):
        found.vision = [n for n, m in by_layer.items() if not m.startswith(f"{inside}.") and n != found.head]
    return found


def experts_of(layers: Iterable[str]) -> dict[str, list[str]]:
    """Those that belong to experts, by the block that holds all experts of a layer.

    >>> experts_of(["a.q_proj", "a.experts.0.w1", "a.experts.0.w2"])
    {'a.experts': ['a.experts.0.w1', 'a.experts.0.w2']}
    """
    found: dict[str, list[str]] = {}
    for layer in layers:
        if match := EXPERT.fullmatch(layer):
            found.setdefault(match["block"], []).append(layer)
    return found


def _routers(modules: dict[str, Any]) -> list[str]:
    """What chooses among experts: a gate or router beside them with a number for each, and a gate with one number that
    weighs the expert that all tokens share. vLLM runs both in 16 bit (`GateLinear` and layers without a scheme)."""
    found = []
    for block, experts in modules.items():
        parent, _, own = block.rpartition(".")
        if own != "experts":
            continue
        fused = next((p.shape[0] for p in experts.parameters(recurse=False) if p.ndim == 3), None)
        outputs = (fused or len(list(experts.children())), 1)
        for name, module in modules.items():
            weight = getattr(module, "weight", None)
            if name.startswith(f"{parent}.") and weight is not None and weight.ndim == 2:
                inner = name.removeprefix(f"{parent}.")
                if ROUTER.search(inner) and not inner.startswith("experts.") and weight.shape[0] in outputs:
                    found.append(name)
    return found


def _saved_names(model: Any, tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """How a checkpoint calls tensors that are saved as they are."""
    from transformers.core_model_loading import revert_weight_conversion

    saved = {id(tensor): name for name, tensor in revert_weight_conversion(model, dict(tensors)).items()}
    return {name: saved[id(tensor)] for name, tensor in tensors.items()}


def _add(found: Layers, saved: str, module: str, shape: tuple[int, int]) -> None:
    layer = saved.removesuffix(".weight")
    found.linears[layer] = shape
    if layer != module:
        found.modules[layer] = module


def _add_experts(found: Layers, model: Any, name: str, parameter: torch.Tensor, transposed: bool) -> None:
    """Adds the matrices of one three-dimensional parameter of shape (experts, outputs, inputs), or with the last two
    exchanged."""
    from transformers.core_model_loading import revert_weight_conversion

    block, _, own = name.rpartition(".")
    saved: dict[str, torch.Tensor] = revert_weight_conversion(model, {name: parameter})
    if any(tensor.ndim == 2 for tensor in saved.values()):
        for tensor_name, tensor in saved.items():
            match = EXPERT.fullmatch(tensor_name.removesuffix(".weight"))
            if match is not None:
                projection = PROJECTIONS.get(match["own"], match["own"])
                shape = (tensor.shape[0], tensor.shape[1])
                _add(found, tensor_name, f"{block}.{match['number']}.{projection}", shape)
        return
    # The checkpoint has them in one tensor too. What is written quantized has a matrix for each.
    place = next(iter(saved)).removesuffix(f".{own}")
    count, outputs, inputs = parameter.shape
    outputs, inputs = (inputs, outputs) if transposed else (outputs, inputs)
    parts = HALVES.get(own, (own,))
    for number in range(count):
        for part in parts:
            _add(found, f"{place}.{number}.{part}", f"{block}.{number}.{part}", (outputs // len(parts), inputs))
