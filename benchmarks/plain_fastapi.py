"""The peer: the stored INT8 model behind FastAPI as tutorials do it, one inference per request, no batching."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

from quantbento import store
from quantbento.runtimes import artifact

stored = store.find(os.environ["QUANTBENTO_MODEL"])
stored.verify()
config = artifact.describe(stored.path)["task_config"]
tokenizer = Tokenizer.from_file(str(stored.path / "tokenizer.json"))
tokenizer.enable_truncation(config["text"]["max_length"])
tokenizer.no_padding()
options = ort.SessionOptions()
options.intra_op_num_threads = int(os.environ.get("PLAIN_THREADS", "0"))  # 0 is the default: all cores
session = ort.InferenceSession(str(stored.path / "model.onnx"), options, providers=["CPUExecutionProvider"])
names = [i.name for i in session.get_inputs()]
app = FastAPI()


class Texts(BaseModel):
    texts: list[str]


@app.post("/encode")
def encode(request: Texts) -> list[list[float]]:
    vectors = []
    for text in request.texts:
        e = tokenizer.encode(text)
        given = {"input_ids": e.ids, "attention_mask": e.attention_mask, "token_type_ids": e.type_ids}
        hidden = session.run(None, {n: np.asarray([given[n]], dtype=np.int64) for n in names})[0]
        pooled = hidden[0].mean(0)
        vectors.append((pooled / np.linalg.norm(pooled)).tolist())
    return vectors


@app.get("/readyz")
def readyz() -> str:
    return "ok"
