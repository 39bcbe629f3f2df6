"""The stored model as a script uses it: tokenizers, ONNX Runtime, and the mean of the tokens' vectors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


class Encoder:
    """Of the artifact folder that `ENCODER_FOLDER` names; `ENCODER_THREADS` threads per call, by default all cores."""

    def __init__(self) -> None:
        folder = Path(os.environ["ENCODER_FOLDER"])
        text = json.loads((folder / "artifact.json").read_text())["task_config"]["text"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(text["max_length"])
        self.tokenizer.enable_padding(pad_id=text["pad_id"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("ENCODER_THREADS", "0"))
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.names = [i.name for i in self.session.get_inputs()]

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors, float32 of shape (texts, width)."""
        encoded = self.tokenizer.encode_batch(texts)
        given = {
            "input_ids": np.asarray([e.ids for e in encoded], np.int64),
            "attention_mask": np.asarray([e.attention_mask for e in encoded], np.int64),
            "token_type_ids": np.asarray([e.type_ids for e in encoded], np.int64),
        }
        hidden = self.session.run(None, {name: given[name] for name in self.names})[0]
        mask = given["attention_mask"][..., None].astype(np.float32)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
