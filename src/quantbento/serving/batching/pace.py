"""How long batches take, learnt from those that ran: a fixed part, and one for each token."""

from __future__ import annotations

KEPT = 0.95  # of what is known, with each batch: about the last twenty count


class Pace:
    """A line through the batches' sizes and seconds by least squares, where a batch counts less the older it is."""

    def __init__(self) -> None:
        self._count = self._size = self._seconds = self._squares = self._products = 0.0

    def learn(self, size: int, seconds: float) -> None:
        """A batch of this size took so long."""
        sums = (self._count, self._size, self._seconds, self._squares, self._products)
        new = (1, size, seconds, size * size, size * seconds)
        self._count, self._size, self._seconds, self._squares, self._products = (
            KEPT * known + added for known, added in zip(sums, new, strict=True)
        )

    def seconds(self, size: float) -> float:
        """How long a batch of this size will take; 0 as long as none ran."""
        if not self._count:
            return 0.0
        mean_size, mean_seconds = self._size / self._count, self._seconds / self._count
        spread = self._squares / self._count - mean_size**2
        slope = (self._products / self._count - mean_size * mean_seconds) / spread if spread > 1e-9 else 0.0
        # A line that falls, or that starts below zero, is noise.
        slope = min(max(slope, 0.0), mean_seconds / mean_size)
        return mean_seconds + slope * (size - mean_size)
