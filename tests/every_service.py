"""A store with one tiny model for each service of `service.py`, made without training and without judging them well:
what they answer does not matter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import quantbento
from tests.conftest import labelled_texts, model_store, tiny_bert, write_tokenizer
from tests.stored_llama import store_llama
from tests.tiny_images import LABELS, picture, write_classifier
from tests.tiny_llama import write_tiny_llama
from tests.trained_heads import TAGS, pairs, tagged, write_rows

# By service: the task, the head of its BERT and the classes that it has.
TEXTS: dict[str, tuple[str, str, list[str]]] = {
    "Embedding": ("feature-extraction", "BertModel", []),
    "TextClassification": ("text-classification", "BertForSequenceClassification", ["bad", "good"]),
    "TextRanking": ("text-ranking", "BertForSequenceClassification", ["relevance"]),
    "TokenClassification": ("token-classification", "BertForTokenClassification", TAGS),
}
IMAGES = {"ImageClassification": "image-classification", "ImageFeatureExtraction": "image-feature-extraction"}


def save_every_model(folder: Path) -> tuple[Path, dict[str, str]]:
    """The store's BENTOML_HOME, and the name of the model of each service."""
    made: dict[str, str] = {}
    with model_store(folder / "bentoml") as home:
        for service, (task, head, labels) in TEXTS.items():
            made[service] = _save(folder, task, {"path": str(_bert(folder / task, head, labels))}, _rows(folder, task))
        model = {"path": str(write_classifier(folder / "images"))}
        for number in range(16):
            place = folder / "pictures" / LABELS[number % 8]
            place.mkdir(parents=True, exist_ok=True)
            picture(seed=number).save(place / f"{number}.png")
        for service, task in IMAGES.items():
            made[service] = _save(folder, task, model, {"path": str(folder / "pictures")})
        factory = {"factory": "tests.tiny_tensor:model"}
        made["TensorModel"] = _save(folder, "tensor", factory, {"factory": "tests.tiny_tensor:samples"})
        (folder / "llama").mkdir()
        made["TextGeneration"] = "tiny-llama"
        store_llama("tiny-llama", write_tiny_llama(folder / "llama"), "transformers")
    return home, made


def _save(folder: Path, task: str, model: dict[str, Any], samples: dict[str, Any]) -> str:
    recipe = {
        "schema_version": 1,
        "name": f"tiny-{task}",
        "task": task,
        "model": model,
        "evaluation": samples,
        "benchmark": {"items": 1, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
        "variants": [{"name": "int8", "quantizer": "torch-dynamic"}],
    }
    report = quantbento.save(recipe, output=folder / "reports", keep_failed=True)
    assert report.exit_code in (0, 1), report.variants
    return f"tiny-{task}-int8"


def _bert(folder: Path, head: str, labels: list[str]) -> Path:
    import torch
    import transformers

    folder.mkdir()
    torch.manual_seed(0)
    named = {"id2label": dict(enumerate(labels))} if labels else {}
    config = transformers.BertConfig(**tiny_bert(write_tokenizer(folder)), **named)
    getattr(transformers, head)(config).save_pretrained(folder)
    return folder


def _rows(folder: Path, task: str) -> dict[str, Any]:
    """The samples of a recipe for that task."""
    rows: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "text-ranking": lambda: pairs(2, 3, seed=1),
        "token-classification": lambda: tagged(8, seed=1),
    }
    if task in rows:
        columns = {"columns": {"text": "tokens", "label": "ner_tags"}} if task == "token-classification" else {}
        return {"path": str(write_rows(folder / f"{task}.jsonl", rows[task]())), **columns}
    texts, _ = labelled_texts(8, seed=1)
    return {"path": str(write_rows(folder / f"{task}.jsonl", json.loads(json.dumps([{"text": t} for t in texts]))))}
