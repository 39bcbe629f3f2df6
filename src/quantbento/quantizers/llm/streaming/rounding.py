"""Data-free schemes: each is one function of a matrix, and what compressed-tensors calls the result.

A function takes some rows of a weight, float of shape (rows, inputs), and returns the tensors that stand in its place,
by the last part of their names. Rows that are rounded apart from each other give the same tensors, one below the
other, as long as each piece but the last has a multiple of `TOGETHER` rows: zero points are packed eight rows to a
word, and blocks of FP8_BLOCK have 128 rows. Scales have the weight's dtype and are rounded to it first: what is
written is what was rounded to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from quantbento.quantizers.llm.streaming.packing import pack

if TYPE_CHECKING:
    import torch

Parts = dict[str, "torch.Tensor"]
Rounding = Callable[["torch.Tensor"], Parts]

TOGETHER = 128
BLOCK = 128  # rows and columns of a block of FP8_BLOCK
LEAST_SCALE = 1e-5  # as AutoRound: a smaller one is no normal number in float16
LARGEST_FP8 = 448.0  # of float8_e4m3fn
SCHEMES = ("W4A16", "W4A16_ASYM", "W8A16", "W8A8", "FP8_DYNAMIC", "FP8_BLOCK")


def rounding(scheme: str, group_size: int) -> Rounding:
    """The function of a scheme. `group_size`, inputs per scale or -1 for all, is read by the schemes with groups."""
    functions: dict[str, Rounding] = {
        "W4A16": partial(symmetric, bits=4, group_size=group_size),
        "W4A16_ASYM": partial(asymmetric, bits=4, group_size=group_size),
        "W8A16": partial(symmetric, bits=8, group_size=group_size),
        "W8A8": int8,
        "FP8_DYNAMIC": float8,
        "FP8_BLOCK": float8_blocks,
    }
    return functions[scheme]


def symmetric(weight: torch.Tensor, bits: int, group_size: int) -> Parts:
    """Integers without zero points, packed. The weight of a group with the largest magnitude becomes the most negative
    integer, by a scale of either sign: all 2^bits integers are used (the rule of llama.cpp and AutoRound)."""
    import torch

    groups = _groups(weight, group_size)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    largest = torch.where(-low > high, -low, -high)  # negative where the largest weight is positive
    scale = _scale(largest / 2 ** (bits - 1), weight.dtype)
    whole = (groups / scale.float()[..., None]).round_().clamp_(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return {"weight_packed": pack(whole.to(torch.int8).flatten(1), bits), "weight_scale": scale}


def asymmetric(weight: torch.Tensor, bits: int, group_size: int) -> Parts:
    """Integers with a zero point per group, both packed. Zero is always among the values that can be written."""
    import torch

    groups = _groups(weight, group_size)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = _scale((high - low) / (2**bits - 1), weight.dtype)
    exact, middle = scale.float(), 2 ** (bits - 1)
    zero = (-low / exact).round_().clamp_(0, 2**bits - 1)
    whole = (groups / exact[..., None]).add_(zero[..., None]).round_().clamp_(0, 2**bits - 1) - middle
    zeros = (zero - middle).to(torch.int8)
    return {
        "weight_packed": pack(whole.to(torch.int8).flatten(1), bits),
        "weight_scale": scale,
        "weight_zero_point": pack(zeros.T, bits).T.contiguous(),
    }


def int8(weight: torch.Tensor) -> Parts:
    """INT8, one scale per row, for activations that are rounded per token at run time. -128 is not used."""
    import torch

    exact = weight.float()
    scale = (exact.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127).to(weight.dtype)
    whole = (exact / scale.float()).round_().clamp_(-127, 127)
    return {"weight": whole.to(torch.int8), "weight_scale": scale}


def float8(weight: torch.Tensor) -> Parts:
    """FP8 (float8_e4m3fn), one scale per row."""
    exact = weight.float()
    scale = _scale(exact.abs().amax(1, keepdim=True) / LARGEST_FP8, weight.dtype, least=1e-12)
    return {"weight": _to_float8(exact / scale.float()), "weight_scale": scale}


def float8_blocks(weight: torch.Tensor) -> Parts:
    """FP8, one scale per block of 128 x 128 weights; blocks at the edges may be smaller."""
    from torch.nn.functional import pad

    rows, inputs = weight.shape
    exact = pad(weight.float(), (0, -inputs % BLOCK, 0, -rows % BLOCK))
    blocks = exact.unflatten(1, (-1, BLOCK)).unflatten(0, (-1, BLOCK))  # (row of blocks, row, column of blocks, column)
    scale = _scale(blocks.abs().amax((1, 3)) / LARGEST_FP8, weight.dtype, least=1e-12)
    scaled = (blocks / scale.float()[:, None, :, None]).flatten(2).flatten(0, 1)[:rows, :inputs]
    return {"weight": _to_float8(scaled).contiguous(), "weight_scale": scale}


def config_group(scheme: str, group_size: int) -> dict[str, Any]:
    """What a checkpoint's configuration says of the layers in a scheme, without their names (`targets`): the fields of
    compressed-tensors' `QuantizationScheme`."""
    if scheme == "W8A8":
        weights = _weights(8, "int", strategy="channel")
        return _group("int-quantized", weights, _activations("int", strategy="token"))
    if scheme == "FP8_DYNAMIC":
        weights = _weights(8, "float", strategy="channel")
        return _group("float-quantized", weights, _activations("float", strategy="token"))
    if scheme == "FP8_BLOCK":
        weights = _weights(8, "float", strategy="block", block_structure=[BLOCK, BLOCK])
        return _group("float-quantized", weights, _activations("float", strategy="group", group_size=BLOCK))
    bits, is_symmetric = (8 if scheme == "W8A16" else 4), scheme != "W4A16_ASYM"
    shared = {"strategy": "channel"} if group_size < 0 else {"strategy": "group", "group_size": group_size}
    zero_points = {} if is_symmetric else {"symmetric": False, "zp_dtype": "torch.int8"}
    return _group("pack-quantized", _weights(bits, "int", **shared, **zero_points), None)


def _groups(weight: torch.Tensor, group_size: int) -> torch.Tensor:
    """float32 of shape (rows, groups, inputs of a group)."""
    return weight.float().unflatten(1, (-1, weight.shape[1] if group_size < 0 else group_size))


def _scale(exact: torch.Tensor, dtype: torch.dtype, least: float = LEAST_SCALE) -> torch.Tensor:
    """In the dtype that is written, and not too near to zero; zero counts as positive."""
    import torch

    return torch.where(exact < 0, exact.clamp(max=-least), exact.clamp(min=least)).to(dtype)


def _to_float8(exact: torch.Tensor) -> torch.Tensor:
    """A cast alone would turn what is a little above the largest number into NaN."""
    import torch

    return exact.clamp(-LARGEST_FP8, LARGEST_FP8).to(torch.float8_e4m3fn)


def _group(kind: str, weights: dict[str, Any], activations: dict[str, Any] | None) -> dict[str, Any]:
    return {"format": kind, "input_activations": activations, "output_activations": None, "weights": weights}


def _weights(bits: int, kind: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("actorder", "block_structure", "group_size", "scale_dtype", "zp_dtype"))
    observer = {"observer": "memoryless_minmax", "observer_kwargs": {}}
    return {**empty, "dynamic": False, "num_bits": bits, **observer, "symmetric": True, "type": kind, **more}


def _activations(kind: str, **more: Any) -> dict[str, Any]:
    return {"num_bits": 8, "type": kind, "symmetric": True, "dynamic": True, **more}
