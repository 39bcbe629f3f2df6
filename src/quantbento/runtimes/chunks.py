"""How the inputs of a call are cut into batches.

A batch is padded to its longest member, and what is padded is computed. So inputs are sorted by length, and a batch
ends where its padding would cost more than another batch. Where several run at once, none is more than a thread's
share of the work: eight texts on two threads are two batches of four, not one of eight on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

# One more batch takes as long as so many more tokens: about 8 for MiniLM in OpenVINO and ONNX Runtime, 25 in PyTorch.
BATCH = 16


def chunks_of(lengths: Sequence[int], most: int, parallel: int) -> list[list[int]]:
    """The indices of the inputs in each batch, the batch with the most work first. Within a batch the longest input is
    the first.

    Args:
        lengths: of the inputs, in tokens; 0 where all are alike.
        most: inputs in a batch.
        parallel: batches that run at once.
    """
    tokens = [length or 1 for length in lengths]
    rounds = -(-len(tokens) // (most * parallel))
    share = sum(tokens) / (rounds * parallel) if parallel > 1 else inf
    batches: list[list[int]] = []
    longest = padding = 0
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        padding += longest - tokens[index]
        size = len(batches[-1]) + 1 if batches else 0
        if size == 0 or size > most or size * longest > share or padding > BATCH:
            batches.append([index])
            longest, padding = tokens[index], 0
        else:
            batches[-1].append(index)
    return sorted(batches, key=lambda batch: len(batch) * tokens[batch[0]], reverse=True)
