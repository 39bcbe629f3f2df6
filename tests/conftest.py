"""Tiny models in hub format, and a model store of its own for every test that asks for one."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

# Before bentoml or transformers is imported: no test touches the user's store or the network.
os.environ["BENTOML_HOME"] = tempfile.mkdtemp(prefix="quantbento-tests-")
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

ROOT = Path(__file__).resolve().parent.parent
POSITIVE = ["good", "great", "lovely", "fine", "superb"]
NEGATIVE = ["bad", "awful", "poor", "dull", "broken"]
NEUTRAL = ["the", "film", "was", "and", "a", "very", "book", "plot", "song", "it", "meal", "day"]


@pytest.fixture
def bento_home(tmp_path, monkeypatch):
    """An empty model store; processes started by the test see it too."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    home = tmp_path / "bentoml"
    (home / "models").mkdir(parents=True)
    monkeypatch.setenv("BENTOML_HOME", str(home))
    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    yield home
    BentoMLContainer.model_store.reset()


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A BERT of 2 layers and 32 dimensions with sentence-transformers files (mean pooling, normalised)."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-encoder")
    vocabulary = _write_tokenizer(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(**_tiny_bert(vocabulary))).save_pretrained(folder)
    modules = [("transformers.Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    (folder / "modules.json").write_text(
        json.dumps(
            [{"idx": i, "path": p, "type": f"sentence_transformers.models.{k}"} for i, (k, p) in enumerate(modules)]
        )
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    return folder


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory) -> Path:
    """A BERT classifier trained for seconds to tell sentences with good words from sentences with bad ones."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny-classifier")
    vocabulary = _write_tokenizer(folder)
    torch.manual_seed(0)
    config = BertConfig(
        **_tiny_bert(vocabulary),
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    model = BertForSequenceClassification(config)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts, labels = labelled_texts(256, seed=1)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(40):
        optimizer.zero_grad()
        model(**batch, labels=torch.tensor(labels)).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    return folder


def labelled_texts(count: int, seed: int) -> tuple[list[str], list[int]]:
    """Sentences of several lengths and whether they are positive."""
    import random

    chance = random.Random(seed)
    texts, labels = [], []
    for i in range(count):
        words = chance.choices(NEUTRAL, k=chance.randint(3, 12))
        words[chance.randrange(len(words))] = chance.choice(POSITIVE if i % 2 else NEGATIVE)
        texts.append(" ".join(words))
        labels.append(i % 2)
    return texts, labels


def _tiny_bert(vocabulary: int) -> dict:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }


def _write_tokenizer(folder: Path) -> int:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NEUTRAL, *POSITIVE, *NEGATIVE]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(folder)
    return len(words)
