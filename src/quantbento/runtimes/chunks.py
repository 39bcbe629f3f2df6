"""How the inputs of a call are cut into batches.

A batch is padded to its longest member, so inputs are sorted by length and run in small batches. Where several run at
once, there are as many batches as threads, or a multiple of it, of about equal work: eight texts on two threads are
two batches of four, not one of eight on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence


def chunks_of(lengths: Sequence[int], most: int, parallel: int) -> list[list[int]]:
    """The indices of the inputs in each batch, the longest inputs first.

    Args:
        lengths: of the inputs, in tokens; 0 where all are alike.
        most: inputs in a batch.
        parallel: batches that run at once.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    rounds = -(-len(order) // (most * parallel))
    left = min(len(order), rounds * parallel)  # batches still to make
    work = sum(lengths[i] or 1 for i in order)
    batches: list[list[int]] = [[]]
    for place, index in enumerate(order):
        batch, remaining = batches[-1], len(order) - place
        full = len(batch) == most or (batch and _work(batch, lengths) >= work / left)
        # Those that are left must fit into the batches that are left, and fill each of them.
        if batch and left > 1 and (remaining < left or (full and remaining <= most * (left - 1))):
            work, left = work - sum(lengths[i] or 1 for i in batch), left - 1
            batches.append([index])
        else:
            batch.append(index)
    return batches


def _work(batch: Sequence[int], lengths: Sequence[int]) -> int:
    """Tokens of a batch, its padding included; its first member is the longest."""
    return len(batch) * (lengths[batch[0]] or 1)
