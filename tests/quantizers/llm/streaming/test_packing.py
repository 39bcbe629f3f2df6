"""The layout is compressed-tensors' own, bit by bit, also where a row does not fill its last word."""

from __future__ import annotations

import pytest
import torch

from quantbento.quantizers.llm.streaming.packing import pack


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("shape", [(1, 8), (37, 101), (16, 64)])
def test_it_packs_as_compressed_tensors_does(bits, shape):
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    whole = torch.randint(low, high, shape, generator=torch.Generator().manual_seed(bits)).to(torch.int8)
    assert torch.equal(pack(whole, bits), pack_to_int32(whole, bits))
    assert torch.equal(pack(whole.T, bits).T, pack_to_int32(whole, bits, packed_dim=0))


def test_the_first_number_is_in_the_lowest_bits():
    whole = torch.tensor([[-8, 7, 0, 0, 0, 0, 0, 1]], dtype=torch.int8)
    assert pack(whole, 4).tolist() == [[int("988888f0", 16) - 2**32]]
