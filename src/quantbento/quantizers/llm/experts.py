"""Mixtures of experts: what they ask of a choice of layers, and what of their experts a checkpoint holds quantized.

Routers stay in 16 bit always. vLLM runs the experts of a layer as one, so they share a scheme.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.checkpoint import CheckpointFacts
from quantbento.inputs.layers import EXPERT, experts_of
from quantbento.runtimes.vllm_settings import runs_on_cpu

NAMED = 4  # of a long list
EXPERTS = "experts"  # what reports count them as


def problems(model: CheckpointFacts, chosen: list[str], raised: list[str], options: Any) -> list[str]:
    """What cannot be quantized as chosen: one sentence per reason."""
    found, taken, eight = [], set(chosen), set(raised)
    for block, layers in experts_of(model.linears).items():
        for part, key in ((taken, "ignore"), (eight, "eight_bit")):
            inside = [name for name in layers if name in part]
            if inside and len(inside) < len(layers):
                other = next(name for name in layers if (name not in part) == (key == "ignore"))
                found.append(
                    f"{key} names {other!r} but not all of {block!r}: vLLM runs the experts of a layer as one; name "
                    f"'{block}.*'"
                )
    form = getattr(options, "format", "compressed-tensors")
    if experts_of(chosen) and form != "compressed-tensors":
        found.append(
            f"format {form!r} has no way to say that routers stay in 16 bit; use compressed-tensors for a mixture of "
            "experts"
        )
    return found[:2]


def unservable(chosen: list[str]) -> list[str]:
    """Why vLLM cannot run these experts here. Its kernels for quantized experts on x86 all ask for AMX
    (`_supports_current_device` in vllm/model_executor/layers/fused_moe/experts/cpu_moe.py, vLLM 0.32)."""
    if not experts_of(chosen) or not runs_on_cpu() or has_amx():
        return []
    return [
        "vLLM's kernels for quantized experts need AMX on CPUs, which this one does not have. Add '*.experts.*' to "
        "ignore to keep experts in 16 bit, or serve on a CPU with AMX or on a GPU"
    ]


def has_amx() -> bool:
    """Whether this CPU has AMX's tiles, as vLLM asks for it."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported())


def check_all(chosen: list[str], done: Collection[str]) -> None:
    """Raises `QuantbentoError` if layers of experts that were chosen are not quantized."""
    missing = [name for layers in experts_of(chosen).values() for name in layers if name not in done]
    if missing:
        every = sum(len(layers) for layers in experts_of(chosen).values())
        raise QuantbentoError(
            f"{len(missing)} of {every} layers of experts are not quantized in what was written: {_some(missing)}"
        )


def counted(done: Collection[str]) -> dict[str, int]:
    """How many experts are quantized whole; empty for a model without any."""
    number = len(_whole(done))
    return {EXPERTS: number} if number else {}


def notes(model: CheckpointFacts, done: Collection[str]) -> list[str]:
    """How many of a model's experts are quantized, and what became of the routers."""
    every, quantized = _whole(model.linears), _whole(done)
    if not every:
        return []
    return [f"{len(quantized)} of {len(every)} experts are quantized; {len(model.routers)} routers stay in 16 bit"]


def in_checkpoint(model: CheckpointFacts, experts: list[str]) -> list[str]:
    """Experts that are named as in Transformers, as the checkpoint names them."""
    names = {m.rpartition(".")[0]: layer.rpartition(".")[0] for layer, m in model.modules.items()}
    return [names.get(name, name) for name in experts]


def unseen_notes(unseen: list[str], all_tokens: bool) -> list[str]:
    """Says which experts no calibration token was routed to.

    Args:
        unseen: their names.
        all_tokens: whether they were calibrated nevertheless, on the tokens of other experts.
    """
    if not unseen:
        return []
    outcome = "calibrated on the tokens of the others" if all_tokens else "rounded to nearest; give more texts"
    return [f"no calibration token was routed to {len(unseen)} experts, which were {outcome}: {_some(unseen)}"]


def _whole(layers: Collection[str]) -> set[str]:
    """The experts of which a layer is among these."""
    matches = (EXPERT.fullmatch(name) for name in layers)
    return {f"{match['block']}.{match['number']}" for match in matches if match}


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
