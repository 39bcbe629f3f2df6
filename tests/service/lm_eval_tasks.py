"""Two tasks of lm-evaluation-harness in files of their own, what a loaded artifact scores in them, and what the
harness does over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from quantbento.core import isolated
from quantbento.runtimes.language_model import Sampling
from quantbento.runtimes.text_generator import TextGenerator

LM_EVAL = "lm-eval[api]==0.4.13"
QUESTIONS = [
    "def main(",
    "class Model:",
    "import os\nimport",
    "for i in range(",
    "return self.",
    "x = [1, 2,",
    "if not",
]
CHOICES = ["self", "None", "numpy as np"]
NEW_TOKENS = 12
TASKS: dict[str, dict[str, Any]] = {
    "tiny_choice": {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "tiny_text": {
        "output_type": "generate_until",
        "doc_to_target": "{{text}}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": NEW_TOKENS, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
}


@dataclass
class Scores:
    """Of the questions, in order: each choice's log-probability, the greedy text, and both tasks' means."""

    logprobs: list[list[float]]
    texts: list[str]
    accuracy: float
    exact_match: float


def offline_scores(loaded: TextGenerator, folder: Path) -> Scores:
    """What the artifact scores, and the tasks written into `folder` with targets that it meets in part."""
    logprobs, texts = [], []
    for question in QUESTIONS:
        before = _ids(loaded, question)
        logprobs.append([])
        for choice in CHOICES:
            whole = _ids(loaded, f"{question} {choice}")
            scored = loaded.runtime.score(np.asarray([whole]), 1)["token_logprobs"][0]
            logprobs[-1].append(float(scored[len(before) - 1 :].sum()))
        stop = Sampling(max_tokens=NEW_TOKENS, stop=("\n\n", "</s>"))
        texts.append(loaded.runtime.generate([before], stop)[0].text)
    rows = []
    for i, question in enumerate(QUESTIONS):
        best = int(np.argmax(logprobs[i]))
        met = {"answer": best, "text": texts[i]} if i % 2 else {"answer": (best + 1) % 3, "text": "other"}
        rows.append({"question": question, "choices": CHOICES, **met})
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "items.jsonl")}}}
    for name, task in TASKS.items():
        config = {"task": name, "test_split": "test", "doc_to_text": "{{question}}", **data, **task}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    share = len(QUESTIONS) // 2 / len(QUESTIONS)
    return Scores(logprobs, texts, share, share)


def lm_eval(url: str, model: str, folder: Path, batch: int) -> Scores:
    """The same by `lm_eval run` against a service, `batch` prompts per request; it asks the service for token ids."""
    python = isolated.environment([LM_EVAL], print)
    arguments = {"model": model, "base_url": f"{url}/v1/completions", "tokenizer_backend": "remote", "max_length": 1024}
    out = folder / "results"
    # fmt: off
    command = [
        python, "-m", "lm_eval", "run", "--model", "local-completions", "--tasks", ",".join(TASKS), "--include_path",
        folder, "--model_args", ",".join(f"{k}={v}" for k, v in arguments.items()), "--batch_size", str(batch),
        "--output_path", out, "--log_samples",
    ]
    # fmt: on
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    [results] = out.rglob("results_*.json")
    means = json.loads(results.read_text())["results"]
    choices, texts = (_samples(out, name) for name in TASKS)
    return Scores(
        [[float(logprob) for logprob, _ in sample["filtered_resps"]] for sample in choices],
        [sample["filtered_resps"][0] for sample in texts],
        means["tiny_choice"]["acc,none"],
        means["tiny_text"]["exact_match,none"],
    )


def _samples(out: Path, task: str) -> list[dict[str, Any]]:
    [file] = out.rglob(f"samples_{task}_*.jsonl")
    return sorted(map(json.loads, file.read_text(encoding="utf-8").splitlines()), key=lambda sample: sample["doc_id"])


def _ids(loaded: TextGenerator, text: str) -> list[int]:
    return loaded.task.tokenizer(text, add_special_tokens=False)["input_ids"]
