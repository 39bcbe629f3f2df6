"""Tiny encoders trained for seconds on the words of `tests.conftest`, one for each kind of head, with samples to judge
them on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import NEGATIVE, NEUTRAL, POSITIVE, tiny_bert, write_tokenizer

QUERIES = ["a good film", "a fine meal", "a lovely day", "a great book"]
TAGS = ["O", "B-GOOD", "I-GOOD", "B-BAD", "I-BAD"]
TOPICS = ["good", "bad", "film"]


def pairs(queries: int, documents: int, seed: int) -> list[dict[str, Any]]:
    """Rows of a query, a document and a label: 2 where most of its judging words are good, 1 for one of two, 0."""
    chance, rows = random.Random(seed), []
    for _ in range(queries):
        query = chance.choice(QUERIES) + " " + " ".join(chance.choices(NEUTRAL, k=2))
        for _ in range(documents):
            words = chance.choices(NEUTRAL, k=chance.randint(3, 8))
            good = chance.randint(0, 2)
            words += chance.sample(POSITIVE, good) + chance.sample(NEGATIVE, 2 - good)
            chance.shuffle(words)
            rows.append({"query": query, "document": " ".join(words), "label": good})
    return rows


def tagged(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of words and a tag for each: runs of good words are one entity, and so are runs of bad ones."""
    chance, rows = random.Random(seed), []
    for _ in range(count):
        words = [chance.choice(chance.choice([NEUTRAL, NEUTRAL, POSITIVE, NEGATIVE])) for _ in range(8)]
        kinds = ["GOOD" if w in POSITIVE else "BAD" if w in NEGATIVE else "" for w in words]
        tags = [
            "O" if not kind else f"I-{kind}" if place and kinds[place - 1] == kind else f"B-{kind}"
            for place, kind in enumerate(kinds)
        ]
        rows.append({"tokens": words, "ner_tags": tags})
    return rows


def topical(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of a text and the list of its topics: whether it is good, is bad, and is about a film."""
    chance, rows = random.Random(seed), []
    for _ in range(count):
        words = [w for w in chance.choices(NEUTRAL, k=6) if w != "film"]
        topics = [topic for topic in TOPICS if chance.random() < 0.5]
        by_topic = {"good": POSITIVE, "bad": NEGATIVE, "film": ["film"]}
        words += [chance.choice(by_topic[topic]) for topic in topics]
        chance.shuffle(words)
        rows.append({"text": " ".join(words) or "the", "labels": topics})
    return rows


def graded(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of a text and a number: good words less bad ones."""
    chance, rows = random.Random(seed), []
    for _ in range(count):
        good, bad = chance.randint(0, 3), chance.randint(0, 3)
        words = chance.sample(POSITIVE, good) + chance.sample(NEGATIVE, bad) + chance.choices(NEUTRAL, k=3)
        chance.shuffle(words)
        rows.append({"text": " ".join(words), "label": float(good - bad)})
    return rows


def write_ranker(folder: Path) -> Path:
    """A cross-encoder, as sentence-transformers writes its settings: the scores are sigmoids."""
    rows = pairs(20, 6, seed=1)
    activation = {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "5.0.0"}

    def loss(model: Any, batch: Any) -> Any:
        import torch

        wanted = torch.tensor([row["label"] / 2 for row in rows])
        return torch.nn.functional.binary_cross_entropy_with_logits(model(**batch).logits[:, 0], wanted)

    texts = [row["query"] for row in rows], [row["document"] for row in rows]
    settings = {"num_labels": 1, "sentence_transformers": activation}
    return _train(folder, "BertForSequenceClassification", settings, texts, loss)


def write_tagger(folder: Path) -> Path:
    rows = tagged(120, seed=2)

    def loss(model: Any, batch: Any) -> Any:
        import torch

        # Each word is one token: a tag for each, and none for what frames and fills.
        wanted = torch.full(batch["input_ids"].shape, -100)
        for row, own in zip(wanted, rows, strict=True):
            row[1 : len(own["ner_tags"]) + 1] = torch.tensor([TAGS.index(tag) for tag in own["ner_tags"]])
        return model(**batch, labels=wanted).loss

    texts = ([" ".join(row["tokens"]) for row in rows],)
    return _train(folder, "BertForTokenClassification", _named(TAGS), texts, loss)


def write_multi_label(folder: Path) -> Path:
    rows = topical(120, seed=3)

    def loss(model: Any, batch: Any) -> Any:
        import torch

        wanted = torch.tensor([[float(topic in row["labels"]) for topic in TOPICS] for row in rows])
        return model(**batch, labels=wanted).loss

    settings = _named(TOPICS) | {"problem_type": "multi_label_classification"}
    return _train(folder, "BertForSequenceClassification", settings, ([row["text"] for row in rows],), loss)


def write_regression(folder: Path) -> Path:
    rows = graded(120, seed=4)

    def loss(model: Any, batch: Any) -> Any:
        import torch

        return model(**batch, labels=torch.tensor([row["label"] for row in rows])).loss

    settings = _named(["grade"]) | {"problem_type": "regression"}
    return _train(folder, "BertForSequenceClassification", settings, ([row["text"] for row in rows],), loss)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A .jsonl file of samples."""
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def _named(labels: list[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}


def _train(
    folder: Path, kind: str, settings: dict[str, Any], texts: Sequence[list[str]], loss: Callable[[Any, Any], Any]
) -> Path:
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder)
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.BertConfig(**tiny_bert(vocabulary), **settings))
    batch = transformers.AutoTokenizer.from_pretrained(folder)(*texts, padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    model.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small matrices are no faster on two, and much slower where another test has one
    for _ in range(60):
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
    torch.set_num_threads(threads)
    model.eval().save_pretrained(folder)
    return folder
