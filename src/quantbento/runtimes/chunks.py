"""How the inputs of a call are cut into batches.

A batch is padded to its longest member, so inputs are sorted by length and run in small batches. Where several run at
once, there are as many batches as threads, or a multiple of it, of about equal work: eight texts on two threads are
two batches of four, not one of eight on one thread. There are more of them where that saves more padding than another
batch costs.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

BATCH = 32  # tokens that take as long as one more batch; from 16 to 64, little differs for MiniLM
MORE = (1, 1.5, 2, 3)  # times the fewest batches: how many are looked at


def chunks_of(lengths: Sequence[int], most: int, parallel: int) -> list[list[int]]:
    """The indices of the inputs in each batch, the longest inputs first.

    Args:
        lengths: of the inputs, in tokens; 0 where all are alike.
        most: inputs in a batch.
        parallel: batches that run at once.
    """
    tokens = [length or 1 for length in lengths]
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    fewest = -(-len(order) // (most * parallel))
    counts = dict.fromkeys(min(len(order), round(fewest * more) * parallel) for more in MORE)
    return min((_cut(order, tokens, most, count) for count in counts), key=lambda cut: _cost(cut, tokens, parallel))


def _cut(order: Sequence[int], tokens: Sequence[int], most: int, count: int) -> list[list[int]]:
    """`count` batches of about equal work, none larger than `most`."""
    left, work = count, sum(tokens)
    batches: list[list[int]] = [[]]
    for place, index in enumerate(order):
        batch, remaining = batches[-1], len(order) - place
        full = len(batch) == most or (batch and _work(batch, tokens) >= work / left)
        # Those that are left must fit into the batches that are left, and fill each of them.
        if batch and left > 1 and (remaining < left or (full and remaining <= most * (left - 1))):
            work, left = work - sum(tokens[i] for i in batch), left - 1
            batches.append([index])
        else:
            batch.append(index)
    return batches


def _cost(batches: Sequence[Sequence[int]], tokens: Sequence[int], parallel: int) -> int:
    """Tokens until the last thread is done, each taking the next batch when it is free."""
    busy = [0] * parallel
    for batch in batches:
        heapq.heapreplace(busy, busy[0] + _work(batch, tokens) + BATCH)
    return max(busy)


def _work(batch: Sequence[int], tokens: Sequence[int]) -> int:
    """Tokens of a batch, its padding included; its first member is the longest."""
    return len(batch) * tokens[batch[0]]
