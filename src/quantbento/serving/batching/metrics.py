"""What Prometheus is told of batches."""

from __future__ import annotations

from collections.abc import Sequence

from quantbento.serving.metric import counter, histogram

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SIZES = (16, 64, 256, 1024, 4096, 16384, 65536)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class BatchMetrics:
    """Of one model.

    Attributes:
        refused: requests that were refused because they would have been late.
        cancelled: requests whose client left, or whose time was over, before all of their items were computed.
    """

    def __init__(self, model: str) -> None:
        """`model` is the tag."""
        labels = {"model": model}
        self.refused = counter("refused", "Requests refused because they would have been late", labels)
        self.cancelled = counter("cancelled", "Requests that ended before their items were computed", labels)
        self._items = histogram("batch_items", "Items in a batch", labels, COUNTS)
        self._size = histogram("batch_tokens", "Tokens in a batch, without padding", labels, SIZES)
        self._wait = histogram("queue_wait_seconds", "Seconds an item waited for its batch", labels, SECONDS)

    def started(self, items: int, size: int, waits: Sequence[float]) -> None:
        """A batch begins; `waits` are the seconds that its items waited."""
        self._items.observe(items)
        self._size.observe(size)
        for seconds in waits:
            self._wait.observe(seconds)
