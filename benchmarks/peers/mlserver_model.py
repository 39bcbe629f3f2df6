"""MLServer with adaptive batches (`mlserver/model-settings.json`): the Open Inference Protocol, texts to vectors."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.encoder import Encoder


class Embedding(MLModel):
    async def load(self) -> bool:
        self.encoder = Encoder()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        vectors = self.encoder.encode(texts)
        outputs = [NumpyCodec.encode_output("vectors", vectors)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
