"""compressed-tensors' `pack-quantized` layout: small signed integers, several to a 32-bit word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pack(whole: torch.Tensor, bits: int) -> torch.Tensor:
    """Packs each row: the first integer is in the lowest bits of a word, and each is stored plus 2^(bits-1). The last
    word of a row is filled up with zeros. The same as compressed-tensors' `pack_to_int32`, which takes four times the
    memory.

    Args:
        whole: int8 of shape (rows, n), between -2^(bits-1) and 2^(bits-1) - 1.
        bits: 4 or 8.

    Returns:
        int32 of shape (rows, ceil(n * bits / 32)).
    """
    import torch
    from torch.nn.functional import pad

    unsigned = (whole + 2 ** (bits - 1)).view(torch.uint8)
    unsigned = pad(unsigned, (0, -unsigned.shape[1] % (32 // bits)))
    if bits == 4:
        unsigned = unsigned[:, 0::2] | (unsigned[:, 1::2] << 4)
    return unsigned.reshape(-1).view(torch.int32).view(len(whole), -1)
