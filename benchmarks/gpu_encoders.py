"""Encoders for `benchmarks/gpu.py`: a BERT of MiniLM's shape with random weights takes this project's own road, and the
stored variant is served."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.server import bento, serve

WORDS = [
    "the",
    "sun",
    "sets",
    "behind",
    "old",
    "hills",
    "while",
    "rain",
    "falls",
    "over",
    "quiet",
    "fields",
    "and",
    "sea",
]
SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
CLIENTS, READY_SECONDS = 16, 300


@dataclass
class Row:
    name: str
    texts_per_second: float
    milliseconds: float  # of a call with one text, or of a request with `texts` of them
    megabytes: float | None


def encoders(device: str, tiny: bool, requests: int, texts: int) -> list[Row]:
    """Full precision in each runtime and number format that the device has, one variant for each runtime, and the
    served ONNX variant: `texts` in a request, `requests` of them from `CLIENTS` clients."""
    import quantbento
    from quantbento.store.temporary import temporary_store

    with tempfile.TemporaryDirectory(prefix="quantbento-gpu-") as temporary, temporary_store(Path(temporary) / "store"):
        folder = Path(temporary)
        _bert(folder / "model", TINY if tiny else SHAPE)
        (folder / "texts.txt").write_text("\n".join(_texts(32 if tiny else 512)))
        report = quantbento.save(_recipe(folder, device, tiny), output=folder / "reports", keep_failed=True)
        document = json.loads((folder / "reports" / report.recipe / "report.json").read_text())
        rows = [_row(row) for row in [document["baseline"], *document["references"], *document["variants"]]]
        tag = next(row["tag"] for row in document["variants"] if row["runtime"] == "onnx")
        return [*rows, _served(tag, device, requests, texts, folder / "server.log")]


def _recipe(folder: Path, device: str, tiny: bool) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "name": "gpu-encoder",
        "task": "feature-extraction",
        "model": {"path": str(folder / "model")},
        "evaluation": {"path": str(folder / "texts.txt")},
        "benchmark": {"device": device, "items": 8 if tiny else 256, "rounds": 3, "latency_calls": 10},
        "variants": [
            {"name": "onnx-w8", "quantizer": "onnx-weights", "options": {"bits": 8, "block_size": 32}},
            {"name": "torchao-w8", "quantizer": "torchao", "options": {"config": "Int8WeightOnly"}},
        ],
    }


def _row(row: dict[str, Any]) -> Row:
    return Row(row["name"], row["throughput"], row["latency_ms"]["p50"], row["size_bytes"] / 1e6)


def _served(tag: str, device: str, requests: int, texts: int, log: Path) -> Row:
    environment = {"QUANTBENTO_MODEL": tag, "QUANTBENTO_DEVICE": device, "QUANTBENTO_MAX_ITEMS": str(max(64, texts))}
    body = json.dumps({"texts": _texts(texts)}).encode()
    with serve(bento("service:Embedding"), environment, log, READY_SECONDS) as server:

        def ask(_: int) -> float:
            start = time.perf_counter()
            request = urllib.request.Request(f"{server.url}/encode", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as response:
                vectors = json.load(response)
            assert len(vectors) == texts
            return time.perf_counter() - start

        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(ask, range(CLIENTS)))  # warm-up
            begin = time.perf_counter()
            seconds = list(clients.map(ask, range(requests)))
            took = time.perf_counter() - begin
    return Row(f"served: {tag.partition(':')[0]}", texts * requests / took, 1e3 * statistics.median(seconds), None)


def _texts(count: int) -> list[str]:
    """Of 8 to 24 words, each another one."""
    return [" ".join(WORDS[(i * (j + 1) + j) % len(WORDS)] for j in range(8 + i % 17)) for i in range(count)]


def _bert(folder: Path, shape: dict[str, int]) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=special)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=30522, **shape)).save_pretrained(folder)
