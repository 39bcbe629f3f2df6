"""What can be done to a variant: one layer at a time to the next number of bits, in the order that pays most per byte.

Harms of layers, as powers of noise, add up where each is small. Rounding to b bits makes noise of a power in proportion
to 4^-b (Bennett 1948, 6.02 dB per bit): where the harm of a layer in more bits was not measured, it follows from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

FULL = 0  # stands for full precision where bits are numbers


@dataclass(frozen=True)
class Move:
    """One layer gets more bits.

    Attributes:
        layer: its name in `Quantizer.layers`.
        bits: what it has afterwards; `FULL` for full precision.
        gain: the harm that is avoided, in units of `rank`.
        cost: bits that are added, in all.
    """

    layer: str
    bits: int
    gain: float
    cost: float


@dataclass(frozen=True)
class Layers:
    """The layers of a variant.

    Attributes:
        weights: how many each has, by name.
        widths: bits that they can have besides full precision, the fewest first, and the same with scales.
        full: bits of a weight in full precision.
    """

    weights: Mapping[str, int]
    widths: Mapping[int, float]
    full: float

    def moves(self, harm: Mapping[str, float], measured: Mapping[int, Mapping[str, float]] | None = None) -> list[Move]:
        """All moves, the one that avoids most harm per bit first. A layer's moves stay in their order.

        Args:
            harm: of each layer when it alone has the fewest bits.
            measured: the same in more bits, by these bits, where that was measured too.
        """
        known = measured or {}

        def noise(layer: str, bits: int) -> float:
            if bits == FULL:
                return 0.0
            return known.get(bits, {}).get(layer, harm[layer] * 4.0 ** (min(self.widths) - bits))

        found = []
        for layer, count in self.weights.items():
            stages = [*self.widths.items(), (FULL, self.full)]
            rate = float("inf")
            for (bits, cost), (more, more_cost) in pairwise(stages):
                avoided = noise(layer, bits) - noise(layer, more)
                move = Move(layer, more, avoided, max(1.0, count * (more_cost - cost)))
                rate = min(rate, avoided / move.cost)  # never before the layer's move to fewer bits
                found.append((rate, move))
        return [move for _, move in sorted(found, key=lambda pair: -pair[0])]

    def bits(self, moves: Iterable[Move]) -> dict[str, int]:
        """The bits of every layer after these moves."""
        return dict.fromkeys(self.weights, min(self.widths)) | {move.layer: move.bits for move in moves}

    def average(self, moves: Iterable[Move]) -> float:
        """Bits per weight of the layers after these moves, with scales and zero points."""
        cost = {**self.widths, FULL: self.full}
        total = sum(self.weights[layer] * cost[bits] for layer, bits in self.bits(moves).items())
        return total / max(1, sum(self.weights.values()))

    def within(self, moves: Iterable[Move], average: float) -> list[Move]:
        """As many of the moves, in their order, as keep to the average number of bits."""
        chosen, refused = list[Move](), set[str]()
        for move in moves:
            if move.layer not in refused and self.average([*chosen, move]) <= average:
                chosen.append(move)
            else:
                refused.add(move.layer)
        return chosen
