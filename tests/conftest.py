"""Tiny models in hub format, and a separate model store for every test that asks for one."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import tempfile
from pathlib import Path

# Before bentoml or transformers is imported: no test touches the user's store or the network.
os.environ["BENTOML_HOME"] = tempfile.mkdtemp(prefix="quantbento-tests-")
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["QUANTBENTO_CACHE_GB"] = "0"  # no test uses what another test's run finished
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Each xdist worker gets its own core: models that run on every core would wait for those of the other workers.
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

import pytest

# A shell starts background processes with Ctrl-C ignored. The processes that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
LONGEST_FIRST = ("container", "vllm", "network", "server", "slow")  # markers
POSITIVE = ["good", "great", "lovely", "fine", "superb"]
NEGATIVE = ["bad", "awful", "poor", "dull", "broken"]
NEUTRAL = ["the", "film", "was", "and", "a", "very", "book", "plot", "song", "it", "meal", "day"]


def pytest_collection_modifyitems(items):
    """Files with long tests come first, so that no worker begins one when the others are done. The order in a file
    stays."""

    def length(item) -> int:
        return next((i for i, marker in enumerate(LONGEST_FIRST) if item.get_closest_marker(marker)), 9)

    lengths: dict[Path, int] = {}
    for item in items:
        lengths[item.path] = min(length(item), lengths.get(item.path, 9))
    # Two that build images would not start together: one makes the base image, and the other waits for it.
    for path in [path for path, found in lengths.items() if found == 0][1:]:
        lengths[path] = 1
    items.sort(key=lambda item: lengths[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Most of it is imports."""
    from quantbento.core.imports import uncollected

    with uncollected():
        return (yield)


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(autouse=True)
def service_arguments():
    """BentoML keeps the arguments of the Bento it read last; no test sees another's."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    before = BentoMLContainer.bento_arguments.get()
    yield
    BentoMLContainer.bento_arguments.set(before)


@pytest.fixture
def bento_home(tmp_path):
    """An empty model store; processes started by the test see it too."""
    with model_store(tmp_path / "bentoml") as home:
        yield home


@pytest.fixture
def demo_model(tmp_path, bento_home):
    """`demo-int8`, as if the pipeline had stored it: a file that no runtime can load, and its row of the report."""
    from dataclasses import asdict

    from quantbento import store
    from quantbento.judging.rows import VariantRow
    from tests.store.test_models import write_artifact

    row = VariantRow("int8", "onnx-dynamic", "int8-dynamic", {}, "onnx", size_bytes=1000, size_ratio=0.25, passed=True)
    return store.save("demo-int8", write_artifact(tmp_path / "artifact"), {"variant": asdict(row)}, {}, {})


@contextlib.contextmanager
def model_store(home: Path):
    """Makes `home` BentoML's home, here and in processes started from here."""
    from bentoml._internal.bento import BentoStore
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    stores = {BentoMLContainer.model_store: ModelStore, BentoMLContainer.bento_store: BentoStore}
    before, outer = os.environ["BENTOML_HOME"], [store.get() for store in stores]
    os.environ["BENTOML_HOME"] = str(home)
    for (store, kind), folder in zip(stores.items(), ("models", "bentos"), strict=True):
        (home / folder).mkdir(parents=True, exist_ok=True)
        store.set(kind(home / folder))
    try:
        yield home
    finally:
        os.environ["BENTOML_HOME"] = before
        for store, former in zip(stores, outer, strict=True):
            store.set(former)


@pytest.fixture(scope="session")
def served_home(tmp_path_factory, tiny_encoder, tiny_classifier) -> Path:
    """A store with a small model for each service: `tiny-encoder-onnx-int8`, `tiny-classifier-torch-int8` and
    `tiny-tensor-onnx-int8`, which has a preprocess function."""
    import quantbento

    folder = tmp_path_factory.mktemp("served")
    texts, _ = labelled_texts(32, seed=3)
    (folder / "texts.txt").write_text("\n".join(texts))
    recipes = {
        "tiny-encoder": ("feature-extraction", {"path": str(tiny_encoder)}, "onnx-int8", "onnx-dynamic", {}),
        "tiny-classifier": ("text-classification", {"path": str(tiny_classifier)}, "torch-int8", "torch-dynamic", {}),
        "tiny-tensor": (
            "tensor",
            {"factory": "tests.tiny_tensor:model"},
            "onnx-int8",
            "onnx-dynamic",
            {"custom_objects": {"preprocess": "tests.tiny_tensor:preprocess"}},
        ),
    }
    with model_store(folder / "bentoml") as home:
        for name, (task, model, variant, quantizer, more) in recipes.items():
            samples = (
                {"factory": "tests.tiny_tensor:samples"} if task == "tensor" else {"path": str(folder / "texts.txt")}
            )
            recipe = {
                "schema_version": 1,
                "name": name,
                "task": task,
                "model": model,
                "evaluation": samples,
                "benchmark": {"items": 4, "rounds": 3, "latency_calls": 10, "memory": False, "threads": 1},
                "variants": [{"name": variant, "quantizer": quantizer}],
                **more,
            }
            report = quantbento.save(recipe, output=folder / "reports")
            assert report.exit_code == 0, report.variants
    return home


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A BERT with 2 layers, 32 dimensions and sentence-transformers files (mean pooling, normalised)."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-encoder")
    vocabulary = write_tokenizer(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(**tiny_bert(vocabulary))).save_pretrained(folder)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{k}"}
                for i, (k, p) in enumerate(modules)
            ]
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
    vocabulary = write_tokenizer(folder)
    torch.manual_seed(0)
    config = BertConfig(
        **tiny_bert(vocabulary),
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


@pytest.fixture(scope="session")
def tiny_ranker(tmp_path_factory) -> Path:
    """See `tests.trained_heads`, as for the two below."""
    from tests.trained_heads import write_ranker

    return write_ranker(tmp_path_factory.mktemp("tiny-ranker"))


@pytest.fixture(scope="session")
def tiny_tagger(tmp_path_factory) -> Path:
    from tests.trained_heads import write_tagger

    return write_tagger(tmp_path_factory.mktemp("tiny-tagger"))


@pytest.fixture(scope="session")
def tiny_multi_label(tmp_path_factory) -> Path:
    from tests.trained_heads import write_multi_label

    return write_multi_label(tmp_path_factory.mktemp("tiny-multi-label"))


@pytest.fixture(scope="session")
def trained_llama(tmp_path_factory) -> Path:
    """See `tests.trained_llama`."""
    from tests.trained_llama import write_trained_llama

    return write_trained_llama(tmp_path_factory.mktemp("trained-llama"))


@pytest.fixture(scope="session")
def made(trained_llama, tmp_path_factory):
    """`made("rtn", group_size=64)` is the quantizer's artifact of the trained Llama, made once per set of options."""
    from tests.trained_llama import Made

    known = {}

    def make(quantizer: str, **options) -> Made:
        key = quantizer, json.dumps(options)
        if key not in known:
            with pytest.MonkeyPatch.context() as patch:
                if "QUANTBENTO_CACHE" not in os.environ:
                    patch.setenv("QUANTBENTO_CACHE", str(ROOT / ".cache"))
                known[key] = Made(trained_llama, tmp_path_factory.mktemp(quantizer), quantizer, options)
        return known[key]

    return make


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


def tiny_bert(vocabulary: int) -> dict:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }


def write_tokenizer(folder: Path) -> int:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NEUTRAL, *POSITIVE, *NEGATIVE]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(folder)
    return len(words)
