"""A language model without a network: the next token depends on the last one only. And tasks of lm-eval in files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from quantbento.runtimes.language_model import Generated, LanguageModel, Sampling
from tests.tiny_llama import tokenizer_of

TEXT = "def main(arguments):\n    return 0\n"
QUESTIONS = ["def", "return", "main", "x =", "arguments", "if"]
CHOICES = [" 0", " main", "\n"]


class Bigrams(LanguageModel):
    """Attributes:
    sizes: of every batch that was scored: windows and tokens.
    asked: prompts and sampling of every call of `generate`.
    """

    name = "bigrams"

    def __init__(self, tokenizer: Any, seed: int = 0, max_model_len: int | None = 64) -> None:
        vocabulary = len(tokenizer)
        logits = np.random.default_rng(seed).normal(size=(vocabulary, vocabulary)) * 2
        self.logprobs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
        self.tokenizer, self._max_model_len = tokenizer, max_model_len
        self.sizes: list[tuple[int, int]] = []
        self.asked: list[tuple[list[list[int]], Sampling]] = []

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any], *, threads: int, device: str = "cpu") -> Any:
        raise NotImplementedError

    @property
    def max_model_len(self) -> int | None:
        return self._max_model_len

    def score(self, windows: np.ndarray, top: int) -> dict[str, np.ndarray]:
        assert self._max_model_len is None or windows.shape[1] < self._max_model_len
        self.sizes.append(windows.shape)
        of_next = self.logprobs[windows[:, :-1]]
        best = np.argsort(-of_next, axis=2)[:, :, :top]
        return {
            "token_logprobs": np.take_along_axis(of_next, windows[:, 1:, None], axis=2)[..., 0],
            "top_ids": best.astype(np.int32),
            "top_logprobs": np.take_along_axis(of_next, best, axis=2),
        }

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generated]:
        self.asked.append(([list(p) for p in prompts], sampling))
        return [Generated(f"{len(p)}:{p[-1]}", [1], "stop") for p in prompts]

    def close(self) -> None:
        pass


def loaded(seed: int = 0, max_model_len: int | None = 64) -> Any:
    """As a `TextGenerator` holds it."""
    tokenizer = tokenizer_of(TEXT)
    runtime = Bigrams(tokenizer, seed, max_model_len)
    return SimpleNamespace(runtime=runtime, task=SimpleNamespace(tokenizer=tokenizer))


def logprob(model: Any, before: list[int], own: list[int]) -> float:
    """Of a continuation, token by token."""
    ids = [*before, *own]
    return float(
        sum(model.runtime.logprobs[a, b] for a, b in zip(ids[-len(own) - 1 : -1], ids[-len(own) :], strict=True))
    )


def write_task(folder: Path, name: str, rows: list[dict[str, Any]], **config: Any) -> None:
    """A task with its questions beside it, named by a path that starts at the YAML file."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, "test_split": "test"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **data, **config}), encoding="utf-8")


def write_choices(folder: Path, name: str = "choices") -> None:
    rows = [{"question": q, "choices": CHOICES, "answer": i % 3} for i, q in enumerate(QUESTIONS)]
    metrics = [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_norm")]
    of = {"doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}"}
    write_task(folder, name, rows, output_type="multiple_choice", metric_list=metrics, target_delimiter="", **of)


def write_texts(folder: Path, name: str = "texts") -> None:
    rows = [{"text": TEXT}, {"text": TEXT * 6}]
    metrics = [{"metric": "bits_per_byte"}, {"metric": "word_perplexity"}]
    of = {"doc_to_text": "", "doc_to_target": "{{text}}"}
    write_task(folder, name, rows, output_type="loglikelihood_rolling", metric_list=metrics, **of)


def write_writing(folder: Path, name: str = "writing", **generation: Any) -> None:
    tokenizer = tokenizer_of(TEXT)
    ids = [tokenizer(q, add_special_tokens=False)["input_ids"] for q in QUESTIONS]
    rows = [
        {"question": q, "end": f"{len(i)}:{i[-1]}" if n % 2 else "?"}
        for n, (q, i) in enumerate(zip(QUESTIONS, ids, strict=True))
    ]
    metrics = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
    kwargs = {"until": ["\n\n"], "max_gen_toks": 5, "do_sample": False, **generation}
    of = {"doc_to_text": "{{question}}", "doc_to_target": "{{end}}", "generation_kwargs": kwargs}
    write_task(folder, name, rows, output_type="generate_until", metric_list=metrics, **of)
