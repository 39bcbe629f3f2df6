"""FastAPI as tutorials have it: one inference per request."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.peers.encoder import Encoder

encoder = Encoder()
app = FastAPI()


class Texts(BaseModel):
    texts: list[str]


@app.post("/encode")
def encode(request: Texts) -> list[list[float]]:
    return encoder.encode(request.texts).tolist()


@app.get("/ready")
def ready() -> str:
    return "ok"
