"""Each scheme is what compressed-tensors packs and unpacks, bit by bit, and rounds to the nearest value."""

from __future__ import annotations

import pytest
import torch

from quantbento.quantizers.llm.streaming.rounding import SCHEMES, TOGETHER, config_group, rounding

GROUP = 64


def weight(rows: int = 200, inputs: int = 256) -> torch.Tensor:
    """Some rows are all positive, some are zero, and some have an outlier."""
    made = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(0)) * 0.02
    made[3], made[4], made[5, 7] = made[3].abs(), 0, 5.0
    return made.to(torch.bfloat16)


def described(scheme: str, group_size: int):
    """The library's own object for what the checkpoint's configuration says."""
    from compressed_tensors.quantization import QuantizationScheme

    return QuantizationScheme.model_validate({"targets": ["Linear"], **config_group(scheme, group_size)})


def compressor(scheme: str):
    from compressed_tensors.compressors.base import BaseCompressor

    return BaseCompressor.get_value_from_registry(config_group(scheme, GROUP)["format"])


def library_parts(scheme: str, group_size: int, exact: torch.Tensor, scale, zero_point) -> dict[str, torch.Tensor]:
    """What compressed-tensors makes of the weight with the same scales and zero points. It rounds in the dtype that it
    is given; these are the bfloat16 numbers in float32."""
    given = {"weight": exact.float(), "weight_scale": scale.float()}
    if zero_point is not None:
        given["weight_zero_point"] = zero_point
    return compressor(scheme).compress(given, described(scheme, group_size))


def raw(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def unpacked_zeros(parts: dict[str, torch.Tensor]) -> torch.Tensor | None:
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    if "weight_zero_point" not in parts:
        return None
    return unpack_from_int32(parts["weight_zero_point"], 4, parts["weight_scale"].shape, packed_dim=0)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("group_size", [GROUP, -1])
def test_it_is_what_compressed_tensors_writes_bit_by_bit(scheme, group_size):
    exact = weight()
    parts = rounding(scheme, group_size)(exact)
    expected = library_parts(scheme, group_size, exact, parts["weight_scale"], unpacked_zeros(parts))
    for name, tensor in parts.items():
        if name != "weight_scale":
            assert tensor.dtype == expected[name].dtype and tensor.shape == expected[name].shape
            assert torch.equal(raw(tensor), raw(expected[name])), name
    assert parts["weight_scale"].dtype == torch.bfloat16
    assert parts.keys() | {"weight_shape"} == expected.keys() | {"weight_shape"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_library_unpacks_what_is_near_the_weight(scheme):
    exact = weight(rows=256)  # compressed-tensors 0.17 takes wrong scales where rows do not fill FP8_BLOCK's last block
    parts = rounding(scheme, GROUP)(exact) | {"weight_shape": torch.tensor(exact.shape)}
    found = compressor(scheme).decompress(parts, described(scheme, GROUP))["weight"].float()
    near = exact.float()
    least = 17 if scheme.startswith("W4") else 28  # dB
    assert 10 * torch.log10(near.square().sum() / (found - near).square().sum()) > least
    assert found[4].abs().max() == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_rounded_in_pieces_are_those_rounded_at_once(scheme):
    exact, rounded = weight(rows=3 * TOGETHER + 40), rounding(scheme, GROUP)
    whole, pieces = rounded(exact), [rounded(piece) for piece in exact.split(TOGETHER)]
    for name, tensor in whole.items():
        joined = torch.cat([piece[name] for piece in pieces])
        assert torch.equal(raw(joined), raw(tensor)), name


def test_the_steps_are_used_up():
    """Numbers of one sign: half of the levels of a symmetric scheme, and all of an asymmetric one."""
    exact = torch.rand(64, 128, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    for scheme, most in (("W4A16", 1 / 16), ("W4A16_ASYM", 1 / 30)):
        parts = rounding(scheme, 128)(exact) | {"weight_shape": torch.tensor(exact.shape)}
        found = compressor(scheme).decompress(parts, described(scheme, 128))["weight"].float()
        # half a step, and what the scale's rounding to bfloat16 makes of it
        assert (found - exact.float()).abs().max() < most + 0.01


def test_the_largest_weight_of_a_group_is_exact_whatever_its_sign():
    exact = torch.full((2, 128), 0.25, dtype=torch.bfloat16)
    exact[0, 9], exact[1, 9] = 8.0, -8.0
    parts = rounding("W4A16", 128)(exact) | {"weight_shape": torch.tensor(exact.shape)}
    found = compressor("W4A16").decompress(parts, described("W4A16", 128))["weight"]
    assert found[0, 9] == 8.0 and found[1, 9] == -8.0
    assert parts["weight_scale"].flatten().tolist() == [-1.0, 1.0]
