"""BentoML as its documentation has it: a batchable endpoint, all else by default."""

from __future__ import annotations

import bentoml
import numpy as np

from benchmarks.peers.encoder import Encoder


@bentoml.service
class Embedding:
    def __init__(self) -> None:
        self.encoder = Encoder()

    @bentoml.api(batchable=True)
    def encode(self, texts: list[str]) -> np.ndarray:
        return self.encoder.encode(texts)
