"""sentence-transformers in float32 behind FastAPI: one call per request. `MODEL_FOLDER` is in hub format."""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(os.environ["MODEL_FOLDER"], device="cpu")
app = FastAPI()


class Texts(BaseModel):
    texts: list[str]


@app.post("/encode")
def encode(request: Texts) -> list[list[float]]:
    return model.encode(request.texts, show_progress_bar=False).tolist()


@app.get("/ready")
def ready() -> str:
    return "ok"
