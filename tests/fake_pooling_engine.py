"""`quantbento.runtimes.vllm_pooling_engine` with a stand-in for vLLM: a process like the real one, in no time.

A text's row is its number of tokens, its first token, and how many texts ran in the same batch. A text that begins
with LONG is refused; one that begins with DEADLY kills the process.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantbento.runtimes import vllm_pooling_engine

LONG, DEADLY = 666, 667


class Stub:
    """Takes the arguments of `PoolingEngine`, of which the first may be "wrong"."""

    def __init__(self, folder: str, *_: Any) -> None:
        if folder == "wrong":
            raise ValueError("no such model")
        self._waiting: dict[int, list[list[int]]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def add(self, number: int, ids: list[list[int]], types: list[list[int]] | None) -> None:
        if any(sequence[0] == LONG for sequence in ids):
            raise ValueError("too long")
        self._waiting[number] = ids

    def step(self) -> list[tuple[int, list[np.ndarray]]]:
        together, self._waiting = self._waiting, {}
        texts = sum(map(len, together.values()))
        if any(sequence[0] == DEADLY for ids in together.values() for sequence in ids):
            raise RuntimeError("CUDA error: out of luck")
        return [
            (number, [np.array([len(s), s[0], texts], np.float32) for s in ids]) for number, ids in together.items()
        ]


if __name__ == "__main__":
    vllm_pooling_engine.PoolingEngine = Stub  # type: ignore[assignment,misc]
    vllm_pooling_engine.main()
