"""LitServe with batches, as its documentation has it; `PORT` is where it listens."""

from __future__ import annotations

import os

import litserve as ls

from benchmarks.peers.encoder import Encoder


class Embedding(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.encoder = Encoder()

    def decode_request(self, request: dict) -> str:
        return request["texts"][0]

    def predict(self, texts: list[str]) -> list:
        return list(self.encoder.encode(texts))

    def encode_response(self, vector: object) -> list:
        return [vector.tolist()]


if __name__ == "__main__":
    api = Embedding(max_batch_size=32, batch_timeout=0.005, api_path="/encode")
    server = ls.LitServer(api, accelerator="cpu", healthcheck_path="/ready")
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
